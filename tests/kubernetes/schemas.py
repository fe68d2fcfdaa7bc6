"""Whether every object is one that Kubernetes takes: by its own schemas, field by field.

Kinds that operators bring have no schema here, so what is known of them is no more than the fields in this
file, which are those that deploy/kubernetes uses, as the operators' documentation has them.
"""

from collections.abc import Iterator
from typing import Any, Final

import kubernetes_validate  # type: ignore[import-untyped]  # it has types and does not say so

from tests.kubernetes.kustomize import Manifest, name_of

OLDEST: Final = "1.30"
"""The oldest Kubernetes that has all that is used."""

Shape = dict[str, Any]
"""Each field that may stand there, with the shape of what is in it: None is anything."""

_PARENT: Final[Shape] = {"name": None, "sectionName": None}
_LISTENER: Final[Shape] = {
    "name": None,
    "protocol": None,
    "port": None,
    "hostname": None,
    "tls": {"mode": None, "certificateRefs": [{"name": None}]},
    "allowedRoutes": {"namespaces": {"from": None}},
}
_RULE: Final[Shape] = {
    "backendRefs": [{"name": None, "port": None}],
    "timeouts": {"request": None},
    "filters": [{"type": None, "requestRedirect": {"scheme": None, "statusCode": None}}],
}
_TRIGGER: Final[Shape] = {
    "type": None,
    "metricType": None,
    "metadata": {"serverAddress": None, "query": None, "threshold": None, "ignoreNullValues": None},
}
_BROKERS: Final[Shape] = {
    "replicas": None,
    "image": None,
    "persistence": {"storage": None, "storageClassName": None},
    "resources": {"requests": None, "limits": None},
    "affinity": {"podAntiAffinity": None},
    "rabbitmq": {"envConfig": None, "additionalConfig": None},
}
_SCALED: Final[Shape] = {
    "scaleTargetRef": {"name": None},
    "minReplicaCount": None,
    "maxReplicaCount": None,
    "pollingInterval": None,
    "advanced": {"horizontalPodAutoscalerConfig": {"behavior": None}},
    "triggers": [_TRIGGER],
}
_MONITOR: Final[Shape] = {
    "jobLabel": None,
    "selector": {"matchLabels": None},
    "podMetricsEndpoints": [{"port": None, "path": None, "interval": None, "scrapeTimeout": None}],
}
CUSTOM: Final[dict[str, tuple[str, Shape]]] = {
    "RabbitmqCluster": ("rabbitmq.com/v1beta1", _BROKERS),
    "ScaledObject": ("keda.sh/v1alpha1", _SCALED),
    "Gateway": ("gateway.networking.k8s.io/v1", {"gatewayClassName": None, "listeners": [_LISTENER]}),
    "HTTPRoute": (
        "gateway.networking.k8s.io/v1",
        {"parentRefs": [_PARENT], "hostnames": None, "rules": [_RULE]},
    ),
    "PodMonitor": ("monitoring.coreos.com/v1", _MONITOR),
}


def faults(manifests: list[Manifest], kubernetes: str = OLDEST) -> Iterator[str]:
    """What is not as the schemas of that version have it."""
    for manifest in manifests:
        name = name_of(manifest)
        if manifest["kind"] not in CUSTOM:
            yield from (f"{name}: {fault}" for fault in _of_built_in(manifest, kubernetes))
            continue
        version, shape = CUSTOM[manifest["kind"]]
        if manifest["apiVersion"] != version:
            yield f"{name}: its apiVersion is {version}"
        yield from (f"{name}: {fault}" for fault in _of_shape(manifest["spec"], shape, "spec"))


def _of_built_in(manifest: Manifest, kubernetes: str) -> Iterator[str]:
    try:
        kubernetes_validate.validate(manifest, kubernetes, strict=True)
    except kubernetes_validate.ValidationError as error:
        place = ".".join(map(str, error.path))
        yield f"{place + ': ' if place else ''}{error.message}"
    except kubernetes_validate.SchemaNotFoundError:
        yield f"Kubernetes {kubernetes} has no {manifest['apiVersion']} {manifest['kind']}"


def _of_shape(value: Any, shape: Any, place: str) -> Iterator[str]:
    if isinstance(shape, list) and isinstance(value, list):
        for index, each in enumerate(value):
            yield from _of_shape(each, shape[0], f"{place}.{index}")
    elif isinstance(shape, dict) and isinstance(value, dict):
        for field, inner in value.items():
            if field in shape:
                yield from _of_shape(inner, shape[field], f"{place}.{field}")
            else:
                yield f"{place}.{field} is no field that is known here"
    elif shape is not None:
        yield f"{place} is not {'a list' if isinstance(shape, list) else 'an object'}"
