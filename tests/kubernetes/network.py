"""Who may talk to whom, by NetworkPolicies and labels, against what the services' settings name.

As much of policies as is used: labels that match, namespaces by their name, blocks of addresses, ports by
number or name. What brokers say to one another and to the Kubernetes API is not looked at.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from shared.services import CACHE, DATABASE, SERVICES, STORE
from tests.kubernetes.kustomize import Manifest
from tests.kubernetes.objects import NAME, NEEDS, Objects, Pod, object_name

_NAME_OF_NAMESPACE: Final = "kubernetes.io/metadata.name"
_STORES: Final = {"REDIS_URL": STORE, "CACHE_URL": CACHE, "DATABASE_URL": DATABASE}
_OVER_THE_WIRE: Final = ("amqp", "http", "redis", "rediss", "amqps", "postgresql")
"""Not https: that is how people's browsers come, whose addresses are settings too."""


@dataclass(frozen=True, kw_only=True)
class Party:
    """What talks or is talked to. ``namespace`` has the labels of another one than the pipeline's own.

    An overlay may have a store outside of the cluster, where its addresses stand for it.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    namespace: Mapping[str, str] | None = None
    is_store: bool = False


OTHERS: Final[Mapping[str, Party]] = {
    "rabbitmq": Party(
        labels={NAME: "rabbitmq"}, ports={"amqp": 5672, "management": 15672, "prometheus": 15692}
    ),
    "stores": Party(
        namespace={_NAME_OF_NAMESPACE: "stores"}, ports={"redis": 6379, "postgres": 5432}, is_store=True
    ),
    "dns": Party(
        namespace={_NAME_OF_NAMESPACE: "kube-system"}, labels={"k8s-app": "kube-dns"}, ports={"dns": 53}
    ),
    "prometheus": Party(namespace={"order-pipeline/monitoring": "true"}),
    "edge": Party(namespace={"order-pipeline/edge": "true"}),
}
"""What is no pod of the pipeline's own."""


class Line(NamedTuple):
    """That one may talk to another, on a port of that."""

    source: str
    target: str
    port: int


class Call(NamedTuple):
    """What a setting says that a pod asks, and what the pod is said to need for that."""

    need: str
    target: str
    port: int


def faults(objects: Objects) -> Iterator[str]:
    """Lines that are needed and shut, those that are open for nothing, and labels that say otherwise."""
    pods, needed = objects.pods(), set(_standing(objects))
    for name, pod in pods.items():
        calls, unknown = _calls(objects, pod)
        yield from (f"{name}: {fault}" for fault in unknown)
        for need in sorted(pod.needs ^ {call.need for call in calls}):
            yield f"{name}: its label {NEEDS}{need} is {'for nothing' if need in pod.needs else 'missing'}"
        needed |= {Line(name, call.target, call.port) for call in calls}
    policies = [each["spec"] for each in objects.all("NetworkPolicy")]
    if not any(each["podSelector"] == {} and not each.keys() & {"ingress", "egress"} for each in policies):
        yield "NetworkPolicy: none denies what no other one allows"
    parties = {**OTHERS, **{name: Party(labels=pod.labels, ports=pod.ports) for name, pod in pods.items()}}
    allowed = set(_allowed(policies, parties))
    yield from (f"{a}: it cannot reach {b} on port {port}" for a, b, port in sorted(needed - allowed))
    yield from (
        f"{a}: it may reach {b} on port {port} for nothing" for a, b, port in sorted(allowed - needed)
    )


def _standing(objects: Objects) -> Iterator[Line]:
    """What no setting of a service says."""
    for name, pod in objects.pods().items():
        yield Line(name, "dns", 53)
        if "operations" in pod.ports:
            yield Line("prometheus", name, pod.ports["operations"])
    yield Line("rabbitmq", "dns", 53)
    yield Line("prometheus", "rabbitmq", 15692)
    for route in objects.all("HTTPRoute"):
        for backend in (each for rule in route["spec"]["rules"] for each in rule.get("backendRefs", ())):
            if found := _behind(objects, backend["name"], backend["port"]):
                yield Line("edge", *found)


def _calls(objects: Objects, pod: Pod) -> tuple[set[Call], list[str]]:
    """Every address that its settings name; and those where there is nothing."""
    calls: set[Call] = set()
    unknown: list[str] = []
    for variable, value in pod.environment.items():
        for text in value.split(","):
            url = urlsplit(text.strip().rpartition("=")[2])
            host, port = url.hostname or "", url.port or 0
            if url.scheme not in _OVER_THE_WIRE or not host:
                continue
            if variable in _STORES:
                calls.add(Call(_STORES[variable], "stores", port))
            elif host.startswith("rabbitmq-server-"):
                calls.add(Call("management" if port == 15672 else "rabbitmq", "rabbitmq", port))
            elif found := _behind(objects, host, port):
                target, _ = found
                calls.add(Call("operations" if host == f"{target}-operations" else target, *found))
                unknown += _unheard(objects, target, host)
            else:
                unknown.append(f"{variable} names {host}:{port}, and there is no such Service")
    return calls, unknown


def _behind(objects: Objects, host: str, port: int) -> tuple[str, int] | None:
    """The pods behind a Service, and the number of the port that they have there."""
    service = objects.find("Service", host)
    if service is None:
        return None
    for name, pod in objects.pods().items():
        if _matches(service["spec"]["selector"], pod.labels):
            aims = [each["targetPort"] for each in service["spec"]["ports"] if each["port"] == port]
            return next(((name, pod.ports[aim]) for aim in aims if aim in pod.ports), None)
    return None


def _unheard(objects: Objects, target: str, host: str) -> Iterator[str]:
    """A service answers 421 under names that it was not told."""
    service = next(each for each in SERVICES.values() if object_name(each.name) == target)
    hosts = objects.pods()[target].environment.get(f"{service.prefix}_ALLOWED_HOSTS", host)
    if host not in hosts.split(","):
        yield f"{target} does not answer to the name {host}: {service.prefix}_ALLOWED_HOSTS must have it"


def _allowed(policies: list[Manifest], parties: Mapping[str, Party]) -> Iterator[Line]:
    for (a, source), (b, target) in itertools.permutations(parties.items(), 2):
        for port in target.ports.values():
            leaves = _passes(policies, "Egress", source, target, target, port)
            enters = _passes(policies, "Ingress", target, source, target, port)
            if leaves and enters and None in (source.namespace, target.namespace):
                yield Line(a, b, port)


def _passes(
    policies: list[Manifest], way: str, subject: Party, peer: Party, target: Party, port: int
) -> bool:
    """Whether the policies that are about ``subject`` let it talk, in that direction, with ``peer``."""
    about = [
        each
        for each in policies
        if way in each["policyTypes"] and _matches(each["podSelector"].get("matchLabels", {}), subject.labels)
    ]
    if subject.namespace is not None or not about:
        return True
    whom = "to" if way == "Egress" else "from"
    return any(
        _is_one_of(rule.get(whom), peer) and _is_port(rule.get("ports"), target, port)
        for each in about
        for rule in each.get(way.lower(), ())
    )


def _is_one_of(peers: list[Manifest] | None, party: Party) -> bool:
    return peers is None or any(_is_peer(each, party) for each in peers)


def _is_peer(peer: Manifest, party: Party) -> bool:
    if "ipBlock" in peer:
        return party.is_store
    inside = _matches(peer.get("podSelector", {}).get("matchLabels", {}), party.labels)
    if "namespaceSelector" not in peer:
        return party.namespace is None and inside
    wanted = peer["namespaceSelector"].get("matchLabels", {})
    return inside and party.namespace is not None and _matches(wanted, party.namespace)


def _is_port(ports: list[Manifest] | None, target: Party, port: int) -> bool:
    if ports is None:
        return True
    for each in ports:
        first: int = target.ports.get(each["port"], -1) if isinstance(each["port"], str) else each["port"]
        if first <= port <= each.get("endPort", first):
            return True
    return False


def _matches(wanted: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return wanted.items() <= labels.items()
