"""The whole system from one command: up twice, broken piece by piece, and down without a trace."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from orderctl.native import processes, supervisor
from orderctl.native.ports import is_free
from shared.services import SERVICES
from tests.harness.nginx import has_edge
from tests.harness.terminal import Operator

pytestmark = [pytest.mark.broker, pytest.mark.native, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A system that runs, and is gone after these tests."""
    operator = Operator(tmp_path_factory.mktemp("system") / "data")
    try:
        yield operator
    finally:
        operator.types("down", "--wipe")


@pytest.fixture(scope="module")
def welcome(operator: Operator) -> str:
    """What `up` printed."""
    return operator.types("up", "--mode", "native")


def test_up_returns_when_everything_works(operator: Operator, welcome: str) -> None:
    """After `up` every part runs, is ready, and has a process of its own."""
    seen = operator.status()
    assert [name for name in SERVICES if not seen["services"][name]["ready"]] == []
    assert all(node["running"] for node in seen["rabbitmq"])
    assert len(set(operator.pids().values())) == 6 + len(SERVICES)
    assert "fault" not in operator.types("doctor")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_line_to_try_works_when_pasted(welcome: str) -> None:
    """The printed curl line places an order, and only one."""
    line = next(line for line in welcome.splitlines() if "-X POST" in line)
    first = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=30, check=True)  # noqa: S602 - as an operator would
    assert re.match(r"HTTP/1.1 202", first.stdout)
    again = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=30, check=True)  # noqa: S602 - the same line again
    assert re.match(r"HTTP/1.1 409", again.stdout)


def test_stock_and_orders_by_hand(operator: Operator, welcome: str) -> None:
    """An operator sets stock, places an order, and sees it created and the stock taken."""
    operator.types("inventory", "set", "cable", "10")
    operator.types("order", "place", "--sku", "cable", "--qty", "3", "--id", "by-hand-1")

    def decided() -> bool:
        order = json.loads(operator.types("order", "show", "by-hand-1", "--json"))
        return bool(order["status"] == "created")

    assert processes.wait_until(decided, 30.0)
    assert re.search(r"cable +7", operator.types("inventory", "list"))
    assert "by-hand-1" in operator.types("order", "list")
    operator.types("order", "place", "--sku", "cable", "--id", "by-hand-1", status=1)


def test_load_is_acknowledged_and_written_down(operator: Operator, welcome: str, tmp_path: Path) -> None:
    """A load run places every order and says so, for people and for scripts."""
    ledger = tmp_path / "ledger.jsonl"
    words = ("load", "--orders", "50", "--concurrency", "5", "--ledger", str(ledger))
    report = json.loads(operator.types(*words, "--json"))
    assert report["acknowledged"] == 50
    assert len(ledger.read_text(encoding="utf-8").splitlines()) == 100


def test_up_again_changes_nothing(operator: Operator, welcome: str) -> None:
    """A second `up` leaves every process as it is."""
    before = operator.pids()
    operator.types("up")
    assert operator.pids() == before


@pytest.mark.skipif(not has_edge(), reason="nginx or openssl is not installed")
def test_the_edge_comes_to_a_system_that_runs(
    operator: Operator, welcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No process is another than before, the gateway trusts it already, and commands go through it."""
    before = operator.pids()
    url = re.search(r"https://[\d.:]+", operator.types("up", "--edge"))
    assert url is not None
    monkeypatch.setenv("TLS_CA_FILE", str(operator.layout.part("edge") / "edge.pem"))
    operator.types("order", "place", "--sku", "cable", "--id", "by-edge", "--url", url[0])
    assert operator.pids() == before
    assert "edge runs" in operator.types("doctor")


def test_a_killed_service_comes_back_by_itself(operator: Operator, welcome: str) -> None:
    """The supervisor starts it again on its port."""
    before = operator.pids()["notifier"]
    operator.types("kill", "notifier")
    operator.waits_until_ready("notifier")
    assert operator.pids()["notifier"] != before


def test_a_stopped_service_stays_down_until_it_is_started(operator: Operator, welcome: str) -> None:
    """While another one is brought back, the stopped one is left alone."""
    operator.types("stop", "notifier")
    operator.types("kill", "order_processor")
    operator.waits_until_ready("order_processor")
    assert operator.pids()["notifier"] is None
    operator.types("start", "notifier")
    operator.waits_until_ready("notifier")


def test_without_postgres_verify_judges_everything_else(operator: Operator, welcome: str) -> None:
    """What it could not compare is a fault, and the only one."""
    operator.types("stop", "postgres")
    verdict = json.loads(operator.types("verify", "--json", status=1))
    assert (verdict["lost"], verdict["stuck"], verdict["unrecorded"]) == ([], [], ["ledger"])
    assert verdict["why"] == {"ledger": "was not compared: postgres does not run"}
    operator.types("start", "postgres")


def test_up_brings_back_whatever_is_missing(operator: Operator, welcome: str) -> None:
    """Brokers, Redis and services that were ended are all there after `up`."""
    for name in ("rabbitmq3", "redis", "cache", "postgres", "dashboard"):
        operator.types("stop", name)
    assert "fault" in operator.types("doctor", status=1)
    operator.types("up")
    assert all(operator.pids().values())
    assert "fault" not in operator.types("doctor")


def test_down_works_without_the_supervisor_and_leaves_nothing(operator: Operator, welcome: str) -> None:
    """No process of ours remains, our ports are free, and the data folder goes only when asked for."""
    record = processes.running(operator.layout, supervisor.NAME)
    assert record is not None
    processes.kill(record)
    urls = [service["ops_url"] for service in operator.status()["services"].values()]
    operator.types("down")
    assert processes.owned_by(operator.layout) == []
    assert all(is_free(int(url.rpartition(":")[2])) for url in urls)
    assert operator.layout.data_dir.exists()
    operator.types("down", "--wipe")
    assert not operator.layout.data_dir.exists()
