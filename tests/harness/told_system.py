"""A native system whose state a test tells, beside a dashboard that a test has."""

from collections.abc import Mapping
from pathlib import Path

from orderctl.native.ports import STORES
from orderctl.native.system import NativeSystem
from orderctl.system import BrokerStatus, Mode, ServiceStatus, StoreStatus, SystemStatus
from shared.services import SERVICES

NODES = ("rabbitmq1", "rabbitmq2", "rabbitmq3")


class ToldSystem(NativeSystem):
    """Everything runs but what is ``away``; services that are ``unready`` say why.

    Without ``dashboard_url`` its dashboard is away.
    """

    def __init__(
        self,
        folder: Path,
        dashboard_url: str | None,
        *,
        away: tuple[str, ...] = (),
        unready: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(folder)
        self.layout.create()
        self._dashboard_url = dashboard_url
        self._unready = unready or {}
        self._away = away if dashboard_url else (*away, "dashboard")

    def owns(self, port: str) -> bool:
        """The dashboard alone is asked for."""
        return self._dashboard_url is not None

    def address(self, name: str) -> str:
        """Its dashboard."""
        return self._dashboard_url or ""

    def status(self) -> SystemStatus:
        """As it was told."""
        return SystemStatus(
            mode=Mode.NATIVE,
            data_dir=self.layout.data_dir,
            services=tuple(self._service(name) for name in SERVICES),
            rabbitmq=tuple(self._node(node) for node in NODES),
            stores=tuple(
                StoreStatus(name=name, url=self.store_url(name), pid=9, ready=name not in self._away)
                for name in STORES
            ),
        )

    def _service(self, name: str) -> ServiceStatus:
        pid, reason = (None, "not running") if name in self._away else (7, self._unready.get(name, ""))
        return ServiceStatus(name=name, url=None, ops_url="", pid=pid, ready=not reason, reason=reason)

    def _node(self, node: str) -> BrokerStatus:
        running = node not in self._away
        pid = 8 if running else None
        return BrokerStatus(node=node, amqp_url="", management_url="", pid=pid, running=running)
