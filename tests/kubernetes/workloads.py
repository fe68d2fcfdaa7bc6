"""Whether each service runs as the code needs: ports, probes, settings, secrets, time to end, rights."""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Final
from unittest.mock import patch
from urllib.parse import urlsplit

from pydantic import ValidationError
from pydantic_settings import BaseSettings

from shared.health import Health
from shared.http.server import Endpoint
from shared.service.operations import probes
from shared.services import BROKER, CACHE, DATABASE, SERVICES, STORE, Service
from shared.settings import CommonSettings
from tests.harness.settings import settings_of, variables
from tests.kubernetes.objects import NAME, Objects, Pod, object_name

IMAGE: Final = re.compile(r"(.+/)?order-pipeline(:[\w.-]+|@sha256:[0-9a-f]{64})?")
SPARE_SECONDS: Final = 5
"""What a service needs to end, beyond what it waits for."""
LIVENESS: Final = "/livez"
"""The path that asks no broker and no store."""
SHOWN_WHATEVER_IS_AWAY: Final = frozenset(("dashboard",))
_URLS: Final = {BROKER: "RABBITMQ_URLS", STORE: "REDIS_URL", CACHE: "CACHE_URL", DATABASE: "DATABASE_URL"}
_SECRET_NAME: Final = re.compile(r"(PASSWORD|SECRET|TOKEN|COOKIE|KEY)$")
_DRAIN_WITHOUT_A_SETTING: Final = next(
    each.default for each in fields(Endpoint) if each.name == "drain_seconds"
)


def faults(objects: Objects) -> Iterator[str]:
    """What is wrong with the services, each by its name."""
    for service in SERVICES.values():
        name, pod = object_name(service.name), objects.pod_of(service)
        if pod is None:
            yield f"{name}: it has no Deployment"
            continue
        found = (*_identity(objects, service, pod), *_probes(service, pod), *_settings(service, pod))
        yield from (f"{name}: {fault}" for fault in found)
    yield from _unread(objects)
    for each in objects.all("Deployment"):
        if each["metadata"]["name"] not in map(object_name, SERVICES):
            yield f"{each['metadata']['name']}: it is no service of the registry"
    for name, pod in objects.pods().items():
        yield from (f"{name}: {fault}" for fault in (*_rights(pod), *_secrets(pod)))
    for each in objects.all("Secret"):
        yield f"Secret/{each['metadata']['name']}: no secret stands in the repository"


def _identity(objects: Objects, service: Service, pod: Pod) -> Iterator[str]:
    if pod.labels.get(NAME) != service.name:
        yield f"its label {NAME} is {service.name}"
    if pod.container.get("command") != ["python", "-m", service.name]:
        yield f"its command is python -m {service.name}"
    if not IMAGE.fullmatch(pod.container["image"]):
        yield f"{pod.container['image']} is not the pipeline's image"
    wanted = {} if service.operations_port == service.client_port else {"http": service.client_port}
    ports = {name: port for name, port in wanted.items() if port} | {"operations": service.operations_port}
    if pod.ports != ports:
        yield f"its ports are {ports}"
    account = pod.spec.get("serviceAccountName")
    if account != object_name(service.name) or objects.find("ServiceAccount", account) is None:
        yield "it has no ServiceAccount of its own"


def _probes(service: Service, pod: Pod) -> Iterator[str]:
    served = {route.path for route in probes(Health())}
    ready = LIVENESS if service.name in SHOWN_WHATEVER_IS_AWAY else "/readyz"
    for probe, path in (("startupProbe", LIVENESS), ("livenessProbe", LIVENESS), ("readinessProbe", ready)):
        asked = pod.container.get(probe, {}).get("httpGet", {})
        if asked.get("port") != "operations":
            yield f"its {probe} asks the port operations"
        if asked.get("path") not in served:
            yield f"its {probe} asks for {asked.get('path')}, which is not served"
        elif asked["path"] != path:
            yield f"its {probe} asks for {path}"


def _settings(service: Service, pod: Pod) -> Iterator[str]:
    own = settings_of(service)
    for name in sorted((pod.plain.keys() | pod.secrets.keys()) - _read_by(service, pod)):
        yield f"{name} is no setting of it"
    with patch.dict(os.environ, pod.environment, clear=True):
        try:
            CommonSettings(_env_file=None)
            loaded = own(_env_file=None)
        except ValidationError as error:
            yield from _said(own, error)
            return
    yield from _unset(service, pod)
    yield from _listening(service, loaded)
    yield from _ending(service, loaded, pod)


def _read_by(service: Service, pod: Pod) -> set[str]:
    return variables(CommonSettings) | variables(settings_of(service)) | pod.referred


def _unread(objects: Objects) -> Iterator[str]:
    pods = [(each, pod) for each in SERVICES.values() if (pod := objects.pod_of(each))]
    for config_map in objects.all("ConfigMap"):
        name = config_map["metadata"]["name"]
        read = {key for each, pod in pods if name in pod.config_maps for key in _read_by(each, pod)}
        yield from (f"{name}: no service reads {key}" for key in sorted(config_map["data"].keys() - read))


def _said(settings: type[BaseSettings], error: ValidationError) -> Iterator[str]:
    prefix = settings.model_config.get("env_prefix", "") if error.title == settings.__name__ else ""
    for fault in error.errors(include_url=False, include_input=False):
        where = "".join(f"{prefix}{part}: ".upper() for part in fault["loc"][:1])
        yield f"{where}{fault['msg'].removeprefix('Value error, ')}"


def _unset(service: Service, pod: Pod) -> Iterator[str]:
    """Where a default is an address of the same machine, nothing is there in a pod."""
    wanted = {_URLS[need] for need in service.needs}
    wanted |= {
        f"{service.prefix}_{field}".upper()
        for field, known in settings_of(service).model_fields.items()
        if "//127.0.0.1" in str(known.default)
    }
    yield from (f"{name} must be set" for name in sorted(wanted - pod.environment.keys()))


def _listening(service: Service, loaded: Any) -> Iterator[str]:
    for setting, port in service.ports.items():
        field = setting.removeprefix(f"{service.prefix}_").lower()
        if getattr(loaded, field) != service.default_ports[port]:
            yield f"{setting} is {service.default_ports[port]}"
        host = field.replace("port", "host")
        if getattr(loaded, host) != "0.0.0.0":  # noqa: S104 - in its pod
            yield f"{service.prefix}_{host.upper()} is 0.0.0.0"


def _ending(service: Service, loaded: Any, pod: Pod) -> Iterator[str]:
    """A port for clients closes with SIGTERM, so that waits until no proxy sends anything there any more."""
    hook = pod.container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if service.serves_clients != bool(hook):
        yield "a preStop sleep is what has a port for clients, and nothing else"
    drain = getattr(loaded, "drain_seconds", _DRAIN_WITHOUT_A_SETTING)
    needed = hook + drain + SPARE_SECONDS
    grace = pod.spec.get("terminationGracePeriodSeconds", 30)
    if grace < needed:
        yield f"terminationGracePeriodSeconds is {grace}: preStop, drain and ending take {needed:g}"


def _rights(pod: Pod) -> Iterator[str]:
    """Those of the Pod Security Standard `restricted`, and no file to write."""
    whole, own = pod.spec.get("securityContext", {}), pod.container.get("securityContext", {})
    wanted: Mapping[str, bool] = {
        "it runs as root": whole.get("runAsNonRoot") is True and bool(whole.get("runAsUser")),
        "its seccomp profile is not RuntimeDefault": whole.get("seccompProfile")
        == {"type": "RuntimeDefault"},
        "it is privileged": not own.get("privileged"),
        "it may gain privileges": own.get("allowPrivilegeEscalation") is False,
        "it can write to its root file system": own.get("readOnlyRootFilesystem") is True,
        "it keeps capabilities": own.get("capabilities") == {"drop": ["ALL"]},
        "it has a token for the Kubernetes API": pod.spec.get("automountServiceAccountToken") is False,
        "Services set variables of it": pod.spec.get("enableServiceLinks") is False,
        "it is on the node's network": not any(
            pod.spec.get(each) for each in ("hostNetwork", "hostPID", "hostIPC")
        ),
        "it mounts a folder of the node": not any("hostPath" in each for each in pod.spec.get("volumes", ())),
    }
    yield from (fault for fault, holds in wanted.items() if not holds)
    resources = pod.container.get("resources", {})
    for bound, resource in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
        if resource not in resources.get(bound, {}):
            yield f"it {bound} no {resource}"


def _secrets(pod: Pod) -> Iterator[str]:
    """They come from Secrets, whatever they are called, and inside of URLs too."""
    for name, value in (*pod.configured.items(), *pod.plain.items()):
        if _SECRET_NAME.search(name):
            yield f"{name} is written in the clear"
        for url in value.split(","):
            password = urlsplit(url.strip()).password if "://" in url and "@" in url else None
            if password and not re.fullmatch(r"\$\((\w+)\)", password):
                yield f"{name} has a password in the clear"
