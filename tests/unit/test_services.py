"""What cannot derive from the registry of services is held to it: deployment, settings, documents.

A service more is refused here, line by line, until everything that names services names it too.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.services import BROKER, SERVICES, Service
from tests.harness.settings import settings_of

ROOT = Path(__file__).parents[2]
EVERY_SERVICE = pytest.mark.parametrize("service", SERVICES.values(), ids=lambda each: each.name)


def read(path: str) -> str:
    """The text of a file of this tree."""
    return (ROOT / path).read_text()


def compose(path: str = "docker-compose.yml") -> dict[str, Any]:
    """The parts that a compose file names."""
    parts: dict[str, Any] = yaml.safe_load(read(path))["services"]
    return parts


def test_the_ports_of_the_contract() -> None:
    """Users, Prometheus and firewalls know these numbers."""
    assert {
        (each.name, each.prefix, each.client_port, each.operations_port) for each in SERVICES.values()
    } >= {
        ("api_gateway", "GATEWAY", 8080, 9100),
        ("order_processor", "PROCESSOR", None, 9101),
        ("notifier", "NOTIFIER", None, 9102),
        ("accounts", "ACCOUNTS", 8101, 9103),
        ("catalogue", "CATALOGUE", 8102, 9104),
        ("ledger", "LEDGER", 8103, 9105),
        ("webhooks", "WEBHOOKS", 8104, 9106),
        ("dashboard", "DASHBOARD", 8081, 8081),
    }


def test_no_two_services_share_a_port_or_a_prefix() -> None:
    """Side by side on one machine, each is started and configured by itself."""
    ports = [port for each in SERVICES.values() for port in each.default_ports.values()]
    assert len(set(ports)) == len(ports)
    assert len({each.prefix for each in SERVICES.values()}) == len(SERVICES)


@EVERY_SERVICE
def test_a_service_is_a_package_that_can_be_run(service: Service) -> None:
    """``python -m NAME`` is how it is started everywhere."""
    assert (ROOT / service.name / "__main__.py").is_file()
    assert f"!{service.name}/\n" in read(".dockerignore"), "the image lacks it"


@EVERY_SERVICE
def test_its_settings_begin_where_the_registry_says(service: Service) -> None:
    """Its settings class has the ports of the registry as defaults, and binds to loopback."""
    fields = settings_of(service).model_fields
    for setting, port in service.ports.items():
        assert (
            fields[setting.removeprefix(f"{service.prefix}_").lower()].default == service.default_ports[port]
        )
    assert {field.default for name, field in fields.items() if name in ("host", "ops_host")} == {"127.0.0.1"}


@EVERY_SERVICE
def test_compose_runs_it_on_its_ports(service: Service) -> None:
    """Inside its container it listens everywhere, on its default ports; its check asks the right one."""
    part = compose()[service.name]
    environment = {name: str(value) for name, value in part["environment"].items()}
    assert part["command"] == ["python", "-m", service.name]
    for setting, port in service.ports.items():
        assert environment[setting] == str(service.default_ports[port])
        assert environment[setting.replace("PORT", "HOST")] == "0.0.0.0"  # noqa: S104 - in its container
    assert environment["READY_PORT"] == str(service.operations_port)
    client = f"127.0.0.1:${{{service.prefix}_PORT:-{service.client_port}}}:{service.client_port}"
    assert part.get("ports", []) == ([client] if service.serves_clients else [])


@EVERY_SERVICE
def test_compose_starts_first_what_it_needs(service: Service) -> None:
    """A need is a part, or the three nodes of the cluster and what lets services in there."""
    nodes = [name for name in compose() if re.fullmatch(rf"{BROKER}\d|broker_users", name)]
    needed = {part for need in service.needs for part in (nodes if need == BROKER else [need])}
    assert set(compose()[service.name]["depends_on"]) == needed


def test_compose_tells_the_dashboard_where_services_say_that_they_are_ready() -> None:
    """Each of the others by its name, behind which all of its replicas are."""
    told = compose()["dashboard"]["environment"]["DASHBOARD_SERVICE_URLS"].replace(" ", "")
    others = [each for each in SERVICES.values() if each.name != "dashboard"]
    assert told.split(",") == [f"{each.name}=http://{each.name}:{each.operations_port}" for each in others]


@EVERY_SERVICE
def test_docker_mode_publishes_its_operations_port(service: Service) -> None:
    """So that ``status`` and ``verify`` reach it from this machine."""
    if service.operations_port == service.client_port:
        return
    published = (
        f"127.0.0.1:${{{service.prefix}_OPS_PORT:-{service.operations_port}}}:{service.operations_port}"
    )
    assert compose("deploy/docker-compose.orderctl.yml")[service.name]["ports"] == [published]


@EVERY_SERVICE
def test_prometheus_asks_it(service: Service) -> None:
    """One job per service, every copy of it, where it serves ``/metrics``."""
    jobs = yaml.safe_load(read("deploy/prometheus/prometheus.yml"))["scrape_configs"]
    (found,) = (job for job in jobs if job["job_name"] == service.name)
    (place,) = found["dns_sd_configs"]
    assert (place["names"], place["port"]) == ([service.name], service.operations_port)


def test_prometheus_asks_nothing_else() -> None:
    """A job of a service that is gone would be a target that never comes up."""
    jobs = yaml.safe_load(read("deploy/prometheus/prometheus.yml"))["scrape_configs"]
    assert {job["job_name"] for job in jobs} == {*SERVICES, BROKER, "prometheus"}


@EVERY_SERVICE
@pytest.mark.parametrize("document", ["docs/settings.md", ".env.example"])
def test_documents_tell_its_ports(document: str, service: Service) -> None:
    """The line with the setting has the number."""
    for setting, port in service.ports.items():
        told = re.compile(rf"\b{setting}\b[=`].*\b{service.default_ports[port]}\b")
        assert told.search(read(document)), f"{setting} with {service.default_ports[port]}"
