"""What the dashboard says of states that a test makes up."""

from collections.abc import Sequence

from dashboard.overview.attention import ORDERCTL, attention
from dashboard.overview.state import (
    BrokerState,
    PipelineState,
    ServiceState,
    StoreState,
)
from tests.harness.dashboard import SERVICES, STORE, whole_brokers


def said(
    *,
    store: StoreState | None = STORE,
    broker: BrokerState | None = None,
    services: Sequence[ServiceState] = SERVICES,
    cache_fault: str | None = None,
) -> list[str]:
    """The sentences."""
    fault = None if store else "Redis: connection refused."
    broker = broker or whole_brokers()
    return attention(
        PipelineState(
            store=store, store_fault=fault, broker=broker, services=services, cache_fault=cache_fault
        )
    )


def unready(*names: str, **faults: str) -> list[ServiceState]:
    """All services; these of them are not ready."""
    return [
        ServiceState(name=each.name, replicas=1, faults=faults) if each.name in names else each
        for each in SERVICES
    ]


def logs(service: str) -> str:
    """What helps where a log says why."""
    return f". See the log: {ORDERCTL} logs {service}"


def restart(part: str) -> str:
    """What helps where a part hangs."""
    return f". If that lasts: {ORDERCTL} kill {part}; {ORDERCTL} start {part}"


def silent(name: str) -> list[ServiceState]:
    """All services; this one does not answer."""
    gone = ServiceState(name=name, silence="connection refused")
    return [gone if each.name == name else each for each in SERVICES]
