"""`orderctl demo` on the real system, it shows the gap, heals what it broke, and passes its proof."""

import time
from pathlib import Path

import pytest

from orderctl.commands.demo import require_whole, script
from orderctl.demonstration.director import Director
from orderctl.gateway_client import GatewayAddress
from orderctl.system import BrokerStatus, Mode, ServiceStatus, StoreStatus, SystemStatus
from orderctl.verification.promises import read_promises
from orderctl.verification.session import verify
from tests.harness.clusters import NODES
from tests.harness.running import Pipeline

pytestmark = [pytest.mark.failover, pytest.mark.timeout(240)]


class SystemUnderTest:
    """The tests' own cluster as the demonstration sees a system; its services run without a supervisor."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._cluster = pipeline.cluster
        self._gateway = ServiceStatus(
            name="api_gateway", url=pipeline.gateway_url, ops_url="", pid=1, ready=True
        )

    def status(self) -> SystemStatus:
        """The brokers and the store as they are, and where the gateway is."""
        pid = self._cluster.node_pid("redis")
        redis = StoreStatus(name="redis", url=self._cluster.redis_url, pid=pid, ready=True)
        return SystemStatus(
            mode=Mode.NATIVE,
            data_dir=self._cluster.layout.data_dir,
            services=(self._gateway,),
            rabbitmq=tuple(map(self._node, NODES, self._cluster.rabbitmq_management_urls)),
            stores=(redis,),
        )

    def _node(self, node: str, management_url: str) -> BrokerStatus:
        return BrokerStatus(
            node=node,
            amqp_url=self._cluster.amqp_url(node),
            management_url=management_url,
            pid=self._cluster.node_pid(node),
            running=bool(self._cluster.seen_by(node)),
        )

    def kill(self, name: str) -> str:
        """As the operator would."""
        return f"{name} {self._cluster.kill(name)}"

    def start(self, name: str) -> str:
        """And back."""
        return f"{name} {self._cluster.start_part(name)}"


async def test_the_demonstration_breaks_heals_and_proves(pipeline: Pipeline, tmp_path: Path) -> None:
    """Every order accepted is decided and told, the broker serves again, and nothing is left broken."""
    pipeline.empty_store()
    system, ledger = SystemUnderTest(pipeline), tmp_path / "ledger.jsonl"
    director = Director(
        system, system.status(), GatewayAddress(url=pipeline.gateway_url), script(900, 150.0), ledger
    )
    began = time.monotonic()
    await director.run()
    seen = director.chronicle
    assert time.monotonic() - began < 120
    assert len(seen.acknowledged) == seen.latest.decided == seen.latest.told == 900
    assert seen.killed_at is not None
    assert seen.back_at is not None
    assert seen.settled_at is not None
    assert seen.acknowledged_gap() < 10.0
    require_whole(system.status())
    outcome = await verify(
        pipeline.cluster.redis_url,
        read_promises(ledger),
    )
    assert outcome.verdict.faults() == {}
    assert (outcome.verdict.created, outcome.verdict.rejected) == (540, 360)
