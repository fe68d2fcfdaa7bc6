"""`doctor` and `status` end with 1 while something is wrong, and tell each cause once."""

import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orderctl import doctor
from orderctl.cli import app
from orderctl.doctor import Severity, examine
from orderctl.native import redis
from orderctl.native.system import NativeSystem
from shared.messaging.rabbitmq.management import QueueRow
from tests.harness.told_system import NODES, ToldSystem


class Dashboard(http.server.ThreadingHTTPServer):
    """Says what a test tells it to."""

    attention: tuple[str, ...] = ()
    status: int = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Dashboard

    def do_GET(self) -> None:
        body = json.dumps({"attention": self.server.attention}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


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
    assert faults_of(ToldSystem(tmp_path, dashboard.url)) == []


def test_what_the_page_says_is_a_fault_each(tmp_path: Path, dashboard: Dashboard) -> None:
    """While a part is away of which it tells, nothing is added."""
    dashboard.attention = ("Stock below zero: cable", "Broker node rabbitmq2@localhost does not run")
    found = faults_of(ToldSystem(tmp_path, dashboard.url, away=("rabbitmq2",)))
    assert found == [*dashboard.attention]


def test_queues_of_others_are_known_here_alone(
    tmp_path: Path, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page tells of those of the map."""
    short = QueueRow(name="guest.queue", members=NODES[:1], online=NODES[:1], leader=NODES[0], type="quorum")
    monkeypatch.setattr(doctor, "quorum_queues", lambda _: (short, replace(short, name="orders.queue")))
    (fault,) = faults_of(ToldSystem(tmp_path, dashboard.url))
    assert fault == "guest.queue has no leader, or fewer than 3 members"


def test_a_queue_of_an_earlier_version_is_named(
    tmp_path: Path, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As no fault: nothing fills it."""
    left = QueueRow(name="webhooks.queue", members=NODES, online=NODES, leader=NODES[0], type="quorum")
    monkeypatch.setattr(doctor, "quorum_queues", lambda _: (left,))
    found = examine(ToldSystem(tmp_path, dashboard.url))
    (remark,) = [each for each in found if "webhooks.queue" in each.what]
    assert remark.severity is Severity.REMARK


def test_a_full_disk_is_a_fault_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the words of the page."""
    monkeypatch.setattr(doctor, "short_disks", lambda _: {"the data folder": 7 * 1024**2})
    found = faults_of(NativeSystem(tmp_path / "data"))
    assert [each.partition(";")[0] for each in found] == ["The disk of the data folder has 7 MiB left"]


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_a_system_that_has_ended_by_itself_is_not_well(tmp_path: Path, command: str) -> None:
    """After `down` nothing is wrong; after a crash of the machine everything is."""
    words = [command, "--data-dir", str(tmp_path / "data")]
    assert CliRunner().invoke(app, words).exit_code == 0
    NativeSystem(tmp_path / "data").layout.create()
    assert CliRunner().invoke(app, words).exit_code == 1


def test_a_dashboard_that_does_not_tell_is_a_fault(tmp_path: Path, dashboard: Dashboard) -> None:
    """Its silence is not taken for peace."""
    dashboard.status = 404
    assert faults_of(ToldSystem(tmp_path, dashboard.url)) != []
