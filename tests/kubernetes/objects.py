"""What was built, to look things up in: objects by kind and name, a pod with its environment."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from shared.services import Service
from tests.kubernetes.kustomize import Manifest

NAME: Final = "app.kubernetes.io/name"
NEEDS: Final = "order-pipeline/needs-"
SECRET: Final = "0123456789abcdef"
"""Stands for every value that a Secret has."""
_REFERENCE: Final = re.compile(r"\$\((\w+)\)")


def object_name(service: str) -> str:
    """What objects of a service are called: their names take no underscore."""
    return service.replace("_", "-")


@dataclass(frozen=True)
class Pod:
    """What a Deployment or a Job makes. ``settings`` are the ConfigMaps of the same namespace, by name."""

    spec: Mapping[str, Any]
    labels: Mapping[str, str]
    settings: Mapping[str, Mapping[str, str]]

    @property
    def container(self) -> Manifest:
        """Its one container."""
        (only,) = self.spec["containers"]
        found: Manifest = only
        return found

    @cached_property
    def ports(self) -> Mapping[str, int]:
        """Their numbers by their names."""
        return {each["name"]: each["containerPort"] for each in self.container.get("ports", ())}

    @cached_property
    def config_maps(self) -> Sequence[str]:
        """Those that it reads, by name."""
        return [each["configMapRef"]["name"] for each in self.container.get("envFrom", ())]

    @cached_property
    def configured(self) -> Mapping[str, str]:
        """What they say."""
        return {k: value for name in self.config_maps for k, value in self.settings.get(name, {}).items()}

    @cached_property
    def secrets(self) -> Mapping[str, tuple[str, str]]:
        """The Secret and its key, by the variable that has it."""
        references = {
            each["name"]: each.get("valueFrom", {}).get("secretKeyRef")
            for each in self.container.get("env", ())
        }
        return {name: (each["name"], each["key"]) for name, each in references.items() if each}

    @cached_property
    def plain(self) -> Mapping[str, str]:
        """Variables that stand in its own manifest, as they are written."""
        return {each["name"]: each["value"] for each in self.container.get("env", ()) if "value" in each}

    @cached_property
    def environment(self) -> Mapping[str, str]:
        """As the kubelet makes it: each ``$(NAME)`` is replaced by what is known of that name by then."""
        known = dict(self.configured)
        for each in self.container.get("env", ()):
            written = each.get("value", SECRET)
            known[each["name"]] = _REFERENCE.sub(lambda name: known.get(name[1], name[0]), written)
        return known

    @property
    def referred(self) -> set[str]:
        """Variables that others name with ``$(NAME)``."""
        return {name for value in self.plain.values() for name in _REFERENCE.findall(value)}

    @property
    def needs(self) -> set[str]:
        """What its labels say that it needs."""
        return {label.removeprefix(NEEDS) for label in self.labels if label.startswith(NEEDS)}


class Objects:
    """Every object that was built."""

    def __init__(self, manifests: list[Manifest]) -> None:
        self.manifests = manifests

    def all(self, kind: str) -> Iterator[Manifest]:
        """Those of a kind."""
        return (each for each in self.manifests if each["kind"] == kind)

    def find(self, kind: str, name: str) -> Manifest | None:
        """The one of that name."""
        return next((each for each in self.all(kind) if each["metadata"]["name"] == name), None)

    def pod_of(self, service: Service) -> Pod | None:
        """What a service runs as."""
        deployment = self.find("Deployment", object_name(service.name))
        return None if deployment is None else self.pod(deployment)

    def pod(self, maker: Manifest) -> Pod:
        """What a Deployment or a Job makes."""
        template = maker["spec"]["template"]
        settings = {each["metadata"]["name"]: each["data"] for each in self.all("ConfigMap")}
        return Pod(template["spec"], template["metadata"]["labels"], settings)

    def pods(self) -> Mapping[str, Pod]:
        """All pods, by the name of what makes them."""
        makers = (*self.all("Deployment"), *self.all("Job"))
        return {each["metadata"]["name"]: self.pod(each) for each in makers}
