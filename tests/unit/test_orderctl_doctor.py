"""`doctor` and `status` end with 1 while something is wrong, and tell each cause once."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orderctl import doctor
from orderctl.cli import app
from orderctl.doctor import Severity, examine
from orderctl.native import redis
from orderctl.native.ports import STORES
from orderctl.native.system import NativeSystem
from orderctl.system import BrokerStatus, Mode, ServiceStatus, StoreStatus, SystemStatus
from shared.messaging.rabbitmq.management import QueueRow
from shared.services import SERVICES

NODES = ("rabbitmq1", "rabbitmq2", "rabbitmq3")


class Dashboard(http.server.ThreadingHTTPServer):
    """Says what a test tells it to."""

    attention: tuple[str, ...] = ()
    refusal: str = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Dashboard

    def do_GET(self) -> None:
        refusal = {"title": "Store unavailable", "detail": self.server.refusal}
        told = refusal if self.server.refusal else {"attention": self.server.attention}
        body = json.dumps(told).encode()
        self.send_response(503 if self.server.refusal else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


class ToldSystem(NativeSystem):
    """A system whose state a test tells."""

    def __init__(self, folder: Path, dashboard: Dashboard, *, away: tuple[str, ...] = ()) -> None:
        super().__init__(folder)
        self.layout.create()
        self._dashboard = dashboard
        self._away = away

    def url(self, name: str) -> str:
        """Its dashboard."""
        return self._dashboard.url

    def status(self) -> SystemStatus:
        """Everything runs but what is away."""
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
        ready = name not in self._away
        reason = "" if ready else "rabbitmq: no broker answers"
        return ServiceStatus(name=name, url=None, ops_url="", pid=7, ready=ready, reason=reason)

    def _node(self, node: str) -> BrokerStatus:
        running = node not in self._away
        return BrokerStatus(
            node=node, amqp_url="", management_url="", pid=8 if running else None, running=running
        )


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    """On a real port."""
    with Dashboard() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def well(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queues, store and supervisor are as they should be, and nothing is waited for."""
    whole = QueueRow(name="orders.queue", members=NODES, online=NODES, leader=NODES[0], type="quorum")
    monkeypatch.setattr(doctor, "quorum_queues", lambda _: (whole,))
    monkeypatch.setattr(doctor, "_supervision", lambda _: ())
    monkeypatch.setattr(doctor, "PASSES_SECONDS", 0.0)
    monkeypatch.setattr(redis, "differing", lambda *_: [])


def faults_of(system: NativeSystem) -> list[str]:
    """What keeps `doctor` from ending with 0."""
    return [finding.what for finding in examine(system) if finding.severity is Severity.FAULT]


def test_a_system_that_is_well_has_no_faults(tmp_path: Path, dashboard: Dashboard) -> None:
    """Nothing is made up."""
    assert faults_of(ToldSystem(tmp_path, dashboard)) == []


@pytest.mark.parametrize(
    "sentence",
    [
        "Dead letters of notifier in notifier.dead: 3",
        "Stock that is no whole number: cracked",
        "Stock below zero: cable",
        "Redis cannot write to its disk",
        "Queues with a member offline: orders.queue",
    ],
)
def test_what_the_dashboard_calls_attention_to_is_a_fault_in_its_words(
    tmp_path: Path, dashboard: Dashboard, sentence: str
) -> None:
    """The operator reads the same sentence in both places."""
    dashboard.attention = (sentence,)
    assert faults_of(ToldSystem(tmp_path, dashboard)) == [sentence]


@pytest.mark.parametrize(
    ("away", "sentence"),
    [
        (
            "rabbitmq2",
            "Broker node rabbitmq2@localhost does not run. Start it: orderctl start rabbitmq2",
        ),
        ("notifier", "notifier: not ready: rabbitmq: no broker answers"),
        ("redis", "Redis: it does not answer. If it does not run: .venv/bin/orderctl start redis"),
    ],
)
def test_one_cause_is_told_once(tmp_path: Path, dashboard: Dashboard, away: str, sentence: str) -> None:
    """What was seen here is not said again in the dashboard's words."""
    dashboard.attention = (sentence, "Dead letters of notifier in notifier.dead: 1")
    assert len(faults_of(ToldSystem(tmp_path, dashboard, away=(away,)))) == 2


@pytest.mark.parametrize(
    ("away", "said"),
    [
        ((), "the dashboard calls attention to nothing"),
        (("rabbitmq2",), "the dashboard calls attention to nothing else"),
    ],
)
def test_what_was_told_already_is_not_called_nothing(
    tmp_path: Path, dashboard: Dashboard, away: tuple[str, ...], said: str
) -> None:
    """A page that names the broker that is down does not call attention to nothing."""
    dashboard.attention = tuple(f"Broker node {each}@localhost does not run." for each in away)
    assert said in [each.what for each in examine(ToldSystem(tmp_path, dashboard, away=away))]


def test_an_absent_store_is_told_before_what_waits_for_it(tmp_path: Path, dashboard: Dashboard) -> None:
    """The cause first."""
    faults = faults_of(ToldSystem(tmp_path, dashboard, away=("redis", "api_gateway", "dashboard")))
    assert [fault.split()[0] for fault in faults] == ["Redis", "api_gateway", "dashboard"]


def test_the_reason_of_a_service_is_its_own(tmp_path: Path, dashboard: Dashboard) -> None:
    """In the words of its `/readyz`."""
    (fault,) = faults_of(ToldSystem(tmp_path, dashboard, away=("order_processor",)))
    assert fault == "order_processor is not ready: rabbitmq: no broker answers"


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_a_system_that_has_ended_by_itself_is_not_well(tmp_path: Path, command: str) -> None:
    """After `down` nothing is wrong; after a crash of the machine everything is."""
    words = [command, "--data-dir", str(tmp_path / "data")]
    assert CliRunner().invoke(app, words).exit_code == 0
    NativeSystem(tmp_path / "data").layout.create()
    assert CliRunner().invoke(app, words).exit_code == 1


def test_what_the_dashboard_refuses_is_told_in_its_words(tmp_path: Path, dashboard: Dashboard) -> None:
    """As while the store stands still."""
    dashboard.refusal = "Redis did not answer within 1 s."
    assert faults_of(ToldSystem(tmp_path, dashboard)) == [
        "dashboard: Store unavailable: Redis did not answer within 1 s."
    ]
