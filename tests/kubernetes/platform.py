"""What stands around the services: who scales, shields and finds them, the way in, and the brokers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

from orderctl.docker.broker_users import PASSWORD_VARIABLES
from shared.messaging.rabbitmq.rights import MONITOR
from shared.pipeline import QUORUM_SIZE
from shared.services import SERVICES, Service
from tests.kubernetes.objects import NAME, Objects, Pod, object_name

ROOT: Final = Path(__file__).parents[2]
ALONE: Final = frozenset(("dashboard",))
"""Runs once: what it tells Prometheus would count twice, and no order needs it."""
_OF_THE_OPERATOR: Final = "cluster_formation."


def faults(objects: Objects) -> Iterator[str]:
    """What is wrong, by the name of the object."""
    for service in SERVICES.values():
        if (pod := objects.pod_of(service)) is not None:
            found = (*_around(objects, service, pod), *_rollout(objects, service))
            yield from (f"{object_name(service.name)}: {fault}" for fault in found)
    yield from _watched(objects)
    yield from _edge(objects)
    yield from _brokers(objects)
    yield from _broker_users(objects)


def _around(objects: Objects, service: Service, pod: Pod) -> Iterator[str]:
    name, selector = object_name(service.name), {NAME: service.name}
    budget = objects.find("PodDisruptionBudget", name)
    if budget is None or budget["spec"]["selector"] != {"matchLabels": selector}:
        yield "it has no PodDisruptionBudget"
    wanted = {f"{name}-operations": service.operations_port, name: service.client_port}
    if service.operations_port == service.client_port:
        del wanted[f"{name}-operations"]
    for called, port in wanted.items():
        found = objects.find("Service", called)
        if port is None:
            continue
        if found is None or [each["port"] for each in found["spec"]["ports"]] != [port]:
            yield f"it has no Service {called} on port {port}"
        elif found["spec"]["selector"] != selector:
            yield f"its Service {called} leads to other pods"
    keys = {each["topologyKey"] for each in pod.spec.get("topologySpreadConstraints", ())}
    if keys != {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}:
        yield "it is not spread over nodes and zones"


def _rollout(objects: Objects, service: Service) -> Iterator[str]:
    name = object_name(service.name)
    deployment = objects.find("Deployment", name) or {}
    spec = deployment["spec"]
    if spec.get("strategy", {}).get("rollingUpdate") != {"maxUnavailable": 0, "maxSurge": 1}:
        yield "an upgrade takes replicas away before there are others"
    scalers = [*objects.all("HorizontalPodAutoscaler"), *objects.all("ScaledObject")]
    scaled = [each["spec"] for each in scalers if each["spec"]["scaleTargetRef"]["name"] == name]
    if scaled and "replicas" in spec:
        yield "its replicas are its scaler's business"
    least = [each.get("minReplicas", each.get("minReplicaCount")) for each in scaled] or [
        spec.get("replicas", 1)
    ]
    if (min(least) == 1) != (service.name in ALONE):
        yield f"{min(least)} is not how many of it are to run at least"


def _watched(objects: Objects) -> Iterator[str]:
    """The dashboard asks each of the others, and tells of one that is missing."""
    pod = objects.pod_of(SERVICES["dashboard"])
    told = "" if pod is None else pod.environment.get("DASHBOARD_SERVICE_URLS", "")
    named = {each.partition("=")[0].strip() for each in told.split(",")}
    for name in SERVICES.keys() - named - {"dashboard"}:
        yield f"dashboard: DASHBOARD_SERVICE_URLS has no {name}"


def _edge(objects: Objects) -> Iterator[str]:
    listeners = {each["name"] for gateway in objects.all("Gateway") for each in gateway["spec"]["listeners"]}
    pods = {object_name(each.name): (each, objects.pod_of(each)) for each in SERVICES.values()}
    for route in objects.all("HTTPRoute"):
        name, spec = f"HTTPRoute/{route['metadata']['name']}", route["spec"]
        for parent in spec["parentRefs"]:
            if parent["sectionName"] not in listeners:
                yield f"{name}: no listener is called {parent['sectionName']}"
        for backend in (each for rule in spec["rules"] for each in rule.get("backendRefs", ())):
            service, pod = pods.get(backend["name"], (None, None))
            if service is None or pod is None or backend["port"] != service.client_port:
                yield f"{name}: nothing answers clients at {backend['name']}:{backend['port']}"
                continue
            taken = pod.environment.get(f"{service.prefix}_ALLOWED_HOSTS", "").split(",")
            for host in set(spec["hostnames"]) - set(taken):
                yield f"{name}: {service.prefix}_ALLOWED_HOSTS must have {host}"


def _brokers(objects: Objects) -> Iterator[str]:
    (cluster,) = objects.all("RabbitmqCluster")
    part = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["x-rabbitmq"]
    spec = cluster["spec"]
    if spec["replicas"] != QUORUM_SIZE:
        yield f"RabbitmqCluster: its replicas are {QUORUM_SIZE}"
    if spec["image"] not in part["image"]:
        yield f"RabbitmqCluster: its image is {part['image']}"
    if not spec["affinity"]["podAntiAffinity"].get("requiredDuringSchedulingIgnoredDuringExecution"):
        yield "RabbitmqCluster: two of its nodes may share a machine"
    file = (ROOT / "deploy" / "rabbitmq" / "rabbitmq.conf").read_text().splitlines()
    wanted = {line for line in file if not line.startswith(("#", _OF_THE_OPERATOR))}
    told = set(spec["rabbitmq"]["additionalConfig"].splitlines())
    for line in sorted(wanted ^ told):
        yield f"RabbitmqCluster: {line!r} is {'missing' if line in wanted else 'not in rabbitmq.conf'}"


def _broker_users(objects: Objects) -> Iterator[str]:
    job = objects.find("Job", "broker-users")
    if job is None:
        yield "broker-users: nothing lets services in at the brokers"
        return
    secrets = objects.pod(job).secrets
    for user, variable in PASSWORD_VARIABLES.items():
        wanted = ("monitor" if user == MONITOR else object_name(user), "rabbitmq-password")
        if secrets.get(variable) != wanted:
            yield f"broker-users: {variable} is the key {wanted[1]} of the Secret {wanted[0]}"
