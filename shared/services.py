"""The one registry of services: what they are called, where they listen, what they need and consume.

What starts services, asks them, shows them or watches them derives from here; what cannot derive (compose,
Prometheus, ``.env.example``, ``docs/settings.md``) is held to it by ``tests/unit/test_services.py``. A
service NAME is the package NAME, run by ``python -m NAME``. Consumers are the rows of the map.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.pipeline import CONSUMPTIONS, Consumption

BROKER: Final = "rabbitmq"
STORE: Final = "redis"
CACHE: Final = "cache"
DATABASE: Final = "postgres"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service. Its settings are variables that begin with ``prefix``; ports are those it has by default.

    ``operations_port`` has ``/readyz`` and ``/metrics``; a service that has one port only serves them there.
    """

    name: str
    prefix: str
    operations_port: int
    client_port: int | None = None
    needs: frozenset[str] = frozenset({BROKER, STORE})
    consumption: Consumption | None = None

    @property
    def serves_clients(self) -> bool:
        """Whether it has a port for clients."""
        return self.client_port is not None

    @property
    def operations_port_name(self) -> str:
        """The name of the port with ``/readyz`` and ``/metrics``."""
        return f"{self.name}.http" if self.operations_port == self.client_port else f"{self.name}.ops"

    @property
    def ports(self) -> Mapping[str, str]:
        """The name of each of its ports, by the setting that moves it."""
        settings = {f"{self.name}.http": f"{self.prefix}_PORT", f"{self.name}.ops": f"{self.prefix}_OPS_PORT"}
        return {settings[port]: port for port in self.default_ports}

    @property
    def default_ports(self) -> Mapping[str, int]:
        """The number of each of its ports, by name."""
        client = {} if self.client_port is None else {f"{self.name}.http": self.client_port}
        return {**client, self.operations_port_name: self.operations_port}


SERVICES: Final[Mapping[str, Service]] = {
    service.name: service
    for service in (
        Service(name="api_gateway", prefix="GATEWAY", client_port=8080, operations_port=9100),
        *(
            Service(
                name=each.service,
                prefix=each.settings,
                operations_port=each.operations_port,
                needs=frozenset({BROKER, STORE} | ({DATABASE} if each.needs_database else set())),
                consumption=each,
            )
            for each in CONSUMPTIONS
        ),
        Service(
            name="webhooks",
            prefix="WEBHOOKS",
            client_port=8104,
            operations_port=9106,
            needs=frozenset({STORE, DATABASE}),
        ),
        Service(
            name="accounts",
            prefix="ACCOUNTS",
            client_port=8101,
            operations_port=9103,
            needs=frozenset({BROKER, DATABASE, STORE}),
        ),
        Service(
            name="catalogue",
            prefix="CATALOGUE",
            client_port=8102,
            operations_port=9104,
            needs=frozenset({BROKER, STORE, DATABASE, CACHE}),
        ),
        Service(
            name="ledger",
            prefix="LEDGER",
            client_port=8103,
            operations_port=9105,
            needs=frozenset({STORE, DATABASE}),
        ),
        Service(name="dashboard", prefix="DASHBOARD", client_port=8081, operations_port=8081),
    )
}
"""In the order in which an order meets them, which is the order in which they are ended."""
