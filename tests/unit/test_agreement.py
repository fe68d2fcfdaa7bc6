"""The page, `orderctl status` and `orderctl doctor` say what is wrong in the same words, with what helps."""

import asyncio
import html
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from dashboard.overview import whole
from dashboard.overview.attention import ORDERCTL
from dashboard.overview.state import NodeState, NodeStatus, QueueState, ServiceState
from orderctl import doctor, hints
from orderctl.cli import app
from orderctl.commands import views
from orderctl.native import redis
from shared.errors import StoreUnavailable
from shared.messaging.rabbitmq.management import QueueRow
from tests.harness.dashboard import (
    NODES,
    SERVICES,
    STORE,
    Dashboard,
    MadeUpStore,
    dashboard,
    with_nodes,
    with_queue,
)
from tests.harness.told_system import ToldSystem

ROOT = Path(__file__).parents[2]


@pytest.fixture
async def served() -> AsyncIterator[Dashboard]:
    """A dashboard behind a real port."""
    async with dashboard() as running:
        yield running


@pytest.fixture(autouse=True)
def called(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an operator calls it in the checkout; nothing is waited for, and all else is well."""
    monkeypatch.setattr("sys.argv", [ORDERCTL])
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(hints, "_options", [])
    monkeypatch.setattr(doctor, "PASSES_SECONDS", 0.0)
    monkeypatch.setattr(doctor, "_machine", lambda _: ())
    monkeypatch.setattr(doctor, "_supervision", lambda _: ())
    found = QueueRow(name="orders.queue", members=NODES, online=NODES, leader=NODES[0], type="quorum")
    monkeypatch.setattr(doctor, "quorum_queues", lambda _: (found,))
    monkeypatch.setattr(redis, "differing", lambda *_: [])


def typed(monkeypatch: pytest.MonkeyPatch, system: ToldSystem, command: str) -> list[str]:
    """The lines that a command prints about this system."""
    monkeypatch.setattr(views, "current_system", lambda _: system)
    return CliRunner().invoke(app, [command]).stdout.splitlines()


def below_the_table(lines: list[str]) -> list[str]:
    """What `status` says after the last part."""
    last = max(number for number, line in enumerate(lines) if line.startswith("dashboard "))
    return lines[last + 1 :]


def faults(lines: list[str]) -> list[str]:
    """What `doctor` says is wrong."""
    return [line.removeprefix("fault ") for line in lines if line.startswith("fault ")]


async def on_the_page(served: Dashboard) -> list[str]:
    """The sentences at its top."""
    text = await (await served.get("/", Accept="text/html")).text()
    found = re.search(r'<ul class="attention.*?</ul>', text, re.DOTALL)
    assert found is not None
    return [html.unescape(each) for each in re.findall(r"<li>(.*?)</li>", found[0], re.DOTALL)]


def gateway_stopped(served: Dashboard) -> None:
    """By hand."""
    gone = ServiceState(name="api_gateway", silence="connection refused")
    served.services.seen = [gone, *SERVICES[1:]]


def database_away(served: Dashboard) -> None:
    """By the word of those who need it."""
    without = ServiceState(name="accounts", replicas=1, faults={"postgres": "connection refused"})
    served.services.seen = [without if each.name == "accounts" else each for each in SERVICES]


def store_frozen(served: Dashboard) -> None:
    """It takes connections and answers nothing."""
    served.store.away = True


def store_not_writing(served: Dashboard) -> None:
    """Its disk refuses."""
    assert STORE.server is not None
    served.store.figures = replace(STORE, server=replace(STORE.server, is_writing=False))


def outbox_stuck(served: Dashboard) -> None:
    """No broker confirms."""
    served.store.figures = replace(STORE, outbox_oldest_seconds=61.0)


def impossible_stock(served: Dashboard) -> None:
    """The name of the SKU is the shell's to read."""
    served.store.figures = replace(STORE, inventory={"two words": -1})


def first_node(status: NodeStatus, *alarms: str) -> Callable[[Dashboard], None]:
    """Of the brokers."""

    def deal(served: Dashboard) -> None:
        first, *others = served.brokers.seen.nodes
        first = NodeState(node=first.node, status=status, alarms=alarms)
        served.brokers.seen = with_nodes(served.brokers.seen, [first, *others])

    return deal


def no_broker_answers(served: Dashboard) -> None:
    """All are killed."""
    nodes = [NodeState(node=node, status=NodeStatus.UNKNOWN) for node in NODES]
    silence = {"127.0.0.1:15672": "connection refused"}
    served.brokers.seen = replace(with_nodes(served.brokers.seen, nodes), silence=silence)


def queue_with(queue: QueueState) -> Callable[[Dashboard], None]:
    """Something is wrong with one."""

    def deal(served: Dashboard) -> None:
        served.brokers.seen = with_queue(served.brokers.seen, queue)

    return deal


FAULTS = {
    "gateway stopped": gateway_stopped,
    "database away": database_away,
    "store frozen": store_frozen,
    "store does not write": store_not_writing,
    "outbox stuck": outbox_stuck,
    "impossible stock": impossible_stock,
    "broker killed": first_node(NodeStatus.NOT_RUNNING),
    "broker frozen": first_node(NodeStatus.UNREACHABLE),
    "disk alarm": first_node(NodeStatus.RUNNING, "disk"),
    "memory alarm": first_node(NodeStatus.RUNNING, "memory"),
    "no broker answers": no_broker_answers,
    "poison in orders": queue_with(QueueState(name="orders.dead", ready=1, members=NODES, online=NODES)),
    "poison in notifier": queue_with(QueueState(name="notifier.dead", ready=2, members=NODES, online=NODES)),
    "nothing consumes": queue_with(QueueState(name="orders.queue", consumers=0, members=NODES, online=NODES)),
}


AWAY: dict[str, dict[str, Any]] = {
    "gateway stopped": {"away": ("api_gateway",)},
    "database away": {"unready": {"accounts": "postgres: connection refused"}},
    "store frozen": {"away": ("redis",)},
    "broker killed": {"away": ("rabbitmq1",)},
    "broker frozen": {"away": ("rabbitmq1",)},
    "no broker answers": {"away": ("rabbitmq1", "rabbitmq2", "rabbitmq3")},
}
"""What is seen of it on the machine itself."""


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_page_status_and_doctor_agree_word_by_word(
    served: Dashboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """Cause and remedy are one text, and none of the three says more of it, or less."""
    FAULTS[fault](served)
    system = ToldSystem(tmp_path, served.url.rstrip("/"), **AWAY.get(fault, {}))
    page = await on_the_page(served)
    status = await asyncio.to_thread(typed, monkeypatch, system, "status")
    found = await asyncio.to_thread(typed, monkeypatch, system, "doctor")
    assert page != []
    assert below_the_table(status) == page
    assert faults(found) == page


@pytest.mark.parametrize("fault", AWAY)
async def test_what_has_come_back_since_the_page_looked_is_no_fault(
    served: Dashboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """As right after `up` and `start`: what is seen on this machine counts."""
    FAULTS[fault](served)
    system = ToldSystem(tmp_path, served.url.rstrip("/"))
    said = below_the_table(await asyncio.to_thread(typed, monkeypatch, system, "status"))
    assert said == []


@pytest.mark.parametrize(
    "refusal",
    [
        "NOPERM this user has no permissions to run the 'hmget' command",
        "READONLY You can't write against a read only replica.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "ERR upstream failure",
    ],
)
async def test_a_store_that_runs_and_refuses_is_told_by_all_three(
    served: Dashboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusal: str
) -> None:
    """That it answers a PING is no sign that it does its work again."""

    async def refused(_: object) -> None:
        raise StoreUnavailable(f"Redis: {refusal}")

    monkeypatch.setattr(MadeUpStore, "read", refused)
    system = ToldSystem(tmp_path, served.url.rstrip("/"))
    page = await on_the_page(served)
    assert page[0].startswith(f"Redis: {refusal.rstrip('.')}")
    assert below_the_table(await asyncio.to_thread(typed, monkeypatch, system, "status")) == page
    assert faults(await asyncio.to_thread(typed, monkeypatch, system, "doctor")) == page


async def test_a_full_disk_is_told_by_all_three(
    served: Dashboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its part and the room that is left."""
    monkeypatch.setattr(whole, "short_disks", lambda _: {"redis": 3 * 1024**2})
    system = ToldSystem(tmp_path, served.url.rstrip("/"))
    page = await on_the_page(served)
    assert page[0].startswith("The disk of redis has 3 MiB left; ")
    assert below_the_table(await asyncio.to_thread(typed, monkeypatch, system, "status")) == page
    assert faults(await asyncio.to_thread(typed, monkeypatch, system, "doctor")) == page


def test_without_a_dashboard_status_and_doctor_use_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it would say of those that do not answer is said from here."""
    system = ToldSystem(tmp_path, None)
    said = below_the_table(typed(monkeypatch, system, "status"))
    assert f"dashboard: not running. Start it: {ORDERCTL} start dashboard" in said
    assert faults(typed(monkeypatch, system, "doctor")) == said


@pytest.mark.parametrize(
    "said",
    [
        *(b"[]", b"7", b"", b"\xff", b"{}", b"[" * 100_000),
        *(b'{"attention":null}', b'{"attention":"all is well"}', b'{"attention":[1]}', b'{"attention":[[]]}'),
    ],
)
def test_a_dashboard_that_talks_nonsense_is_as_one_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """It may be of another version, or in the middle of its end."""

    class Nonsense(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

    with ThreadingHTTPServer(("127.0.0.1", 0), Nonsense) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            system = ToldSystem(tmp_path, f"http://127.0.0.1:{server.server_port}", away=("notifier",))
            lines = below_the_table(typed(monkeypatch, system, "status"))
        finally:
            server.shutdown()
            serving.join()
    assert f"notifier: not running. Start it: {ORDERCTL} start notifier" in lines


def test_reasons_of_services_are_told_by_what_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the page has them, one sentence for all who miss it."""
    system = ToldSystem(
        tmp_path, None, unready={"accounts": "postgres: away; listener: shut", "ledger": "postgres: away"}
    )
    said = below_the_table(typed(monkeypatch, system, "status"))
    start = f". If it does not run: {ORDERCTL} start postgres"
    assert f"accounts, ledger: not ready: postgres: away{start}" in said
    assert f"accounts: not ready: listener: shut. See the log: {ORDERCTL} logs accounts" in said


async def test_what_the_dashboard_has_not_noticed_is_said_all_the_same(
    served: Dashboard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part that is down just now is no reason to say that all is well."""
    system = ToldSystem(tmp_path, served.url.rstrip("/"), away=("notifier",))
    assert await on_the_page(served) == []
    said = faults(await asyncio.to_thread(typed, monkeypatch, system, "doctor"))
    assert f"notifier: not running. Start it: {ORDERCTL} start notifier" in said


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_guide_has_each_sentence_with_the_same_remedy(served: Dashboard, fault: str) -> None:
    """Its row is found by what the page says, and its command is the page's."""
    FAULTS[fault](served)
    for sentence in await on_the_page(served):
        (remedies,) = [remedies for says, remedies in guide_rows() if says.match(sentence)]
        advised = re.findall(rf"{re.escape(ORDERCTL)} (\w+)", sentence)
        assert advised == [] or set(advised) <= set(re.findall(rf"{re.escape(ORDERCTL)} (\w+)", remedies))


def guide_rows() -> Iterator[tuple[re.Pattern[str], str]]:
    """What the page says, as a pattern, and what the guide says to do."""
    for line in (ROOT / "docs/operate.md").read_text().splitlines():
        says, *_, remedies = line.strip("|").split(" | ") if line.startswith("| `") else ("", "")
        for quoted in re.findall(r"`(.+?)`", says):
            yield re.compile(".*".join(map(re.escape, quoted.split("…")))), remedies
