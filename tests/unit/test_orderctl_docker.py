"""Docker mode without an engine: what compose is told, and how containers are read."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from orderctl.docker import containers, engine, provision
from orderctl.docker.compose import EDGE_FILE, FILES, PORT_VARIABLES, SECRETS, Compose, ports_of_part
from orderctl.docker.images import pinned_images, source_digest
from orderctl.docker.system import DockerSystem
from orderctl.native.layout import Layout, project_root
from orderctl.native.ports import EDGE, Ports
from orderctl.system import PARTS
from shared.services import SERVICES


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A data folder."""
    layout = Layout(tmp_path / "data")
    layout.create()
    return layout


def compose_of(layout: Layout, *, is_default: bool = False) -> Compose:
    """The project of that folder."""
    return Compose(layout, Ports(layout), is_default=is_default)


def inspected(**state: Any) -> dict[str, Any]:
    """One container in the engine's words."""
    return {
        "Id": "c0ffee",
        "Config": {"Labels": {containers.SERVICE_LABEL: "redis"}},
        "State": {"Running": True, "Restarting": False, "Pid": 1, **state},
        "RestartCount": 0,
        "NetworkSettings": {
            "Ports": {"6379/tcp": [{"HostIp": "127.0.0.1", "HostPort": "6380"}], "1/tcp": None}
        },
    }


def engine_says(monkeypatch: pytest.MonkeyPatch, *found: dict[str, Any]) -> None:
    """What `docker ps` and `docker inspect` answer."""
    answers = {"ps": "c0ffee\n" * len(found), "inspect": json.dumps(found)}
    monkeypatch.setattr(containers, "docker", lambda command, *_: answers[command])


def test_every_port_that_compose_publishes_is_settled_by_us() -> None:
    """A port that nobody settled could be taken, and compose would fail over it."""
    published = [
        port
        for file in (*FILES, EDGE_FILE)
        for name, service in yaml.safe_load((project_root() / file).read_text("utf-8"))["services"].items()
        if name in (*PARTS, EDGE)
        for port in service.get("ports", [])
    ]
    variables = {port.partition("${")[2].partition(":-")[0] for port in published}
    assert variables == set(PORT_VARIABLES)
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_each_part_has_the_ports_that_it_publishes() -> None:
    """By their names in the data folder."""
    assert ports_of_part("rabbitmq2") == ("rabbitmq2.amqp", "rabbitmq2.management")
    assert ports_of_part("api_gateway") == ("api_gateway.http", "api_gateway.ops")
    assert ports_of_part("redis") == ("redis",)


def test_a_folder_of_its_own_is_a_project_of_its_own(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual folder means the usual project, which `docker compose` alone means as well."""
    monkeypatch.delenv("COMPOSE_PROJECT_NAME", raising=False)
    assert compose_of(layout, is_default=True).project == "order-pipeline"
    assert compose_of(layout).project.startswith("order-pipeline-")
    assert compose_of(layout).project == compose_of(layout).project


def test_a_token_is_made_once_unless_one_was_chosen(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """The dashboard in a container is off loopback and shows dead letters behind a token only."""
    monkeypatch.setenv("DASHBOARD_TOKEN", "chosen")
    compose = compose_of(layout)
    compose.ensure_token()
    assert compose.environment()["DASHBOARD_TOKEN"] == "chosen"
    monkeypatch.delenv("DASHBOARD_TOKEN")
    compose.ensure_token()
    made = compose.token()
    assert made
    compose.ensure_token()
    assert compose.environment()["DASHBOARD_TOKEN"] == made
    assert (layout.data_dir / "dashboard-token").stat().st_mode & 0o077 == 0


def test_passwords_are_made_once_unless_they_were_chosen(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then a folder's project has those of compose; all of them lie in one file of its owner's."""
    for variable in SECRETS:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NOTIFIER_BROKER_PASSWORD", "chosen")
    compose = compose_of(layout)
    assert compose.secrets() == {}
    compose.ensure_secrets()
    made = compose.secrets()
    assert (made.keys(), made["NOTIFIER_BROKER_PASSWORD"]) == (SECRETS.keys(), "chosen")
    assert len(set(made.values())) == len(SECRETS)
    compose.ensure_secrets()
    assert made.items() <= compose.environment().items()
    assert layout.secrets.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("state", "running", "healthy"),
    [
        ({"Health": {"Status": "healthy"}}, True, True),
        ({"Health": {"Status": "starting"}}, True, False),
        ({}, True, True),
        ({"Running": False}, False, False),
        ({"Restarting": True}, False, False),
    ],
)
def test_a_container_runs_and_is_healthy_by_the_engines_word(
    monkeypatch: pytest.MonkeyPatch, state: dict[str, Any], running: bool, healthy: bool
) -> None:
    """Between two attempts of its restart policy it does not run."""
    engine_says(monkeypatch, inspected(**state))
    found = containers.containers_of("project")["redis"]
    assert (found.running, found.healthy, found.published) == (running, healthy, frozenset({6380}))


def test_a_pid_of_another_machine_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pid 1 exists here, and is no container's: an engine in a virtual machine counts pids of its own."""
    engine_says(monkeypatch, inspected())
    assert containers.containers_of("project")["redis"].pid() is None


def test_status_without_an_engine_is_that_nothing_runs(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looking never raises because something is broken."""

    def no_docker(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("docker")

    monkeypatch.setattr(subprocess, "run", no_docker)
    status = DockerSystem(layout.data_dir).status()
    assert (status.anything_runs, status.mode, len(status.services)) == (False, "docker", len(SERVICES))
    assert engine.engine_version() is None


def offers(monkeypatch: pytest.MonkeyPatch, *, absent: set[str], registry: bool) -> None:
    """An engine that lacks these images."""
    monkeypatch.setattr(engine, "engine_version", lambda: "28.0")
    monkeypatch.setattr(engine, "compose_version", lambda: "2.30")
    monkeypatch.setattr(engine, "missing_images", lambda names: [each for each in names if each in absent])
    current = source_digest(project_root())
    monkeypatch.setattr(engine, "label_of", lambda image, _: None if image in absent else current)
    monkeypatch.setattr(engine, "can_be_pulled", lambda name: registry)


@pytest.mark.parametrize(
    ("absent", "registry", "offered"),
    [
        (set(), False, True),
        ({"RABBITMQ_IMAGE"}, False, False),
        ({"RABBITMQ_IMAGE"}, True, True),
        ({"PIPELINE_IMAGE"}, False, True),
        ({"PIPELINE_IMAGE", "PYTHON_IMAGE"}, False, False),
        ({"PYTHON_IMAGE", "PROMETHEUS_IMAGE", "GRAFANA_IMAGE", "JAEGER_IMAGE"}, False, True),
    ],
)
def test_docker_is_offered_where_the_images_are_there_or_can_be_had(
    monkeypatch: pytest.MonkeyPatch, absent: set[str], registry: bool, offered: bool
) -> None:
    """Our own image is built from the Python one; those of a profile are nobody's need."""
    for variable in pinned_images():
        monkeypatch.delenv(variable, raising=False)
    offers(monkeypatch, absent={pinned_images()[variable] for variable in absent}, registry=registry)
    assert provision.is_offered() is offered


def test_an_engine_without_compose_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is the command without an engine."""
    offers(monkeypatch, absent=set(), registry=False)
    monkeypatch.setattr(engine, "compose_version", lambda: None)
    assert not provision.is_offered()


def test_an_image_of_other_sources_is_built_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise whoever fetches a new version would go on running the old one."""
    for variable in pinned_images():
        monkeypatch.delenv(variable, raising=False)
    offers(monkeypatch, absent={pinned_images()["PYTHON_IMAGE"]}, registry=False)
    assert provision.is_offered()
    monkeypatch.setattr(engine, "label_of", lambda *_: "of yesterday")
    assert not provision.is_offered()
    monkeypatch.setenv("PIPELINE_IMAGE", "registry.example/orders:7")
    assert provision.is_offered()


def test_sources_are_told_apart_by_all_that_the_image_is_built_from(tmp_path: Path) -> None:
    """And by nothing else."""
    (tmp_path / ".dockerignore").write_text("*\n!shared/\n!wheels/\n**/*.pyc\n")
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/code.py").write_text("1")
    before = source_digest(tmp_path)
    (tmp_path / "README.md").write_text("other")
    (tmp_path / "shared/code.pyc").write_text("other")
    assert source_digest(tmp_path) == before
    (tmp_path / "shared/code.py").write_text("2")
    assert source_digest(tmp_path) != before
