"""What docker-compose.yml promises, read without an engine."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from orderctl.docker.broker_users import PASSWORD_VARIABLES
from orderctl.native import packages, postgres, redis
from orderctl.native.layout import Layout
from shared.messaging.rabbitmq.rights import MONITOR, USERS
from shared.pipeline import CONSUMPTIONS, QUORUM_SIZE
from shared.redis.rights import DEFAULT_USER, OPERATOR, users_of
from shared.services import BROKER, CACHE, SERVICES as REGISTRY, STORE
from shared.settings import CommonSettings
from tests.harness.settings import settings_of, variables

ROOT = Path(__file__).parents[2]
SERVICES: Mapping[str, Mapping[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())[
    "services"
]
EDGE_FILE: Mapping[str, Any] = yaml.safe_load((ROOT / "deploy" / "docker-compose.edge.yml").read_text())
CONTAINERS = {**SERVICES, "edge": EDGE_FILE["services"]["edge"]}
WORKERS = tuple(each.service for each in CONSUMPTIONS)
BROKERS = ("rabbitmq1", "rabbitmq2", "rabbitmq3")
ONCE = "broker_users"
DRAIN_SECONDS = 20
LOG_MEGABYTES = 60
FOR_COMPOSE_ALONE = {"READY_PORT"}


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_container_has_what_it_needs_and_no_more(name: str) -> None:
    """No capabilities, no new privileges, nothing to write to but volumes; memory and processes bounded."""
    service = CONTAINERS[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["restart"] == ("no" if name == ONCE else "unless-stopped")
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert not service.get("privileged")


@pytest.mark.parametrize("name", CONTAINERS)
def test_ports_are_published_on_loopback_only(name: str) -> None:
    """The default password must work nowhere else."""
    assert all(port.startswith("127.0.0.1:") for port in CONTAINERS[name].get("ports", ()))


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_can_be_scaled(name: str) -> None:
    """Nothing of it can be had only once: no published port, no fixed name."""
    assert not {"ports", "container_name", "hostname"} & SERVICES[name].keys()


@pytest.mark.parametrize("name", REGISTRY)
def test_a_service_is_given_settings_that_it_reads(name: str) -> None:
    """A name that nobody reads would be a setting that does nothing."""
    known = variables(CommonSettings) | variables(settings_of(REGISTRY[name]))
    assert SERVICES[name]["environment"].keys() - known == FOR_COMPOSE_ALONE


@pytest.mark.parametrize("name", REGISTRY)
def test_a_service_waits_for_the_cluster_and_may_drain(name: str) -> None:
    """It begins when what it needs is healthy and lets it in, and has longer to end than it needs."""
    service = SERVICES[name]
    needed = dict(service["depends_on"])
    lets_in = {"condition": "service_completed_successfully"}
    assert needed.pop(ONCE, None) == (lets_in if BROKER in REGISTRY[name].needs else None)
    assert {how["condition"] for how in needed.values()} == {"service_healthy"}
    assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_SECONDS


@pytest.mark.parametrize("name", BROKERS)
def test_each_broker_is_the_node_that_the_others_look_for(name: str) -> None:
    """Peers find one another by these names, and data stays with them."""
    service = SERVICES[name]
    node = service["environment"]["RABBITMQ_NODENAME"]
    assert node == f"{name}@{service['hostname']}"
    configuration = (ROOT / "deploy" / "rabbitmq" / "rabbitmq.conf").read_text()
    assert f"= {node}\n" in configuration
    assert configuration.count("classic_config.nodes.") == QUORUM_SIZE
    assert f"{name}:/var/lib/rabbitmq" in service["volumes"]


@pytest.mark.parametrize("name", USERS)
def test_a_broker_user_is_made_with_the_password_that_its_service_is_told(name: str) -> None:
    """And with no other's: the operator's is told to those that make the users alone."""
    password = SERVICES[ONCE]["environment"][PASSWORD_VARIABLES[name]]
    assert re.fullmatch(rf"\$\{{{PASSWORD_VARIABLES[name]}:-\w+\}}", password)
    service, setting = (
        ("dashboard", "RABBITMQ_MANAGEMENT_URLS") if name == MONITOR else (name, "RABBITMQ_URLS")
    )
    told = SERVICES[service]["environment"]
    hosts = re.findall(rf"://{name}:{re.escape(password)}@(\w+):", told[setting])
    assert tuple(hosts) == BROKERS
    assert len(hosts) == len(told[setting].split(","))
    assert not any("${RABBITMQ_PASSWORD" in str(value) for value in told.values())


def test_the_store_keeps_what_it_acknowledges() -> None:
    """Otherwise the gateway would not store and forward."""
    lines = (ROOT / "deploy" / "redis" / "redis.conf").read_text().splitlines()
    assert {"appendonly yes", "appendfsync always", "maxmemory-policy noeviction"} <= set(lines)


def test_the_cache_forgets_what_was_used_longest_ago_wherever_it_runs() -> None:
    """It may lose anything at any time, and never grows past its bound."""
    lines = (ROOT / "deploy" / "redis" / "cache.conf").read_text().splitlines()
    assert {"appendonly no", 'save ""', "maxmemory 128mb", "maxmemory-policy allkeys-lru"} <= set(lines)
    native = redis.server_settings(6380, CACHE)
    assert (native["appendonly"], native["save"], native["maxmemory-policy"]) == ("no", "", "allkeys-lru")
    assert int(native["maxmemory"]) == 128 * 1024 * 1024


def test_every_login_to_postgres_is_made_with_the_password_that_its_service_is_told() -> None:
    """One login and one database for each service that has one, made when the volume is."""
    passwords = SERVICES["postgres"]["environment"]
    for service in postgres.services_with_database():
        password = passwords[f"{service.upper()}_DATABASE_PASSWORD"]
        assert SERVICES[service]["environment"]["DATABASE_URL"] == (
            f"postgresql://{service}:{password}@postgres:5432/{service}"
        )
        assert re.fullmatch(rf"\$\{{{service.upper()}_DATABASE_PASSWORD:-\w+\}}", password)


@pytest.mark.parametrize("store", [STORE, CACHE])
def test_redis_has_the_users_of_the_table_with_the_passwords_of_the_environment(store: str) -> None:
    """Line by line what native mode gives its own, and nobody else."""
    wanted = [f"user {' '.join(DEFAULT_USER)}"]
    for login, rules in users_of(store).items():
        variable = "REDISCLI_AUTH" if login == OPERATOR else f"{login.upper()}_REDIS_PASSWORD"
        assert SERVICES[store]["environment"][variable]
        wanted.append(f"user {login} on >${variable} {' '.join(rules)}")
    assert (ROOT / "deploy" / "redis" / f"{store}.acl").read_text().splitlines() == wanted


@pytest.mark.parametrize("name", REGISTRY)
def test_a_service_is_told_its_own_login_to_redis_and_to_the_cache_where_it_has_one(name: str) -> None:
    """With the password that Redis is told; a consumer more brings its line, and its variable."""
    password = SERVICES[STORE]["environment"][f"{name.upper()}_REDIS_PASSWORD"]
    assert password == f"${{{name.upper()}_REDIS_PASSWORD:-pipeline}}"
    told = SERVICES[name]["environment"]
    assert told["REDIS_URL"] == f"redis://{name}:{password}@redis:6379/0"
    has_cache = name in users_of(CACHE)
    assert told.get("CACHE_URL") == (f"redis://{name}:{password}@cache:6379/0" if has_cache else None)


@pytest.mark.parametrize(("name", "other"), [("api_gateway", "dashboard"), ("dashboard", "api_gateway")])
def test_the_pages_of_the_two_open_ports_know_where_the_other_is_published(name: str, other: str) -> None:
    """Unless the operator says where browsers find it."""
    setting = f"{REGISTRY[name].prefix}_{REGISTRY[other].prefix}_URL"
    port = f"${{{REGISTRY[other].prefix}_PORT:-{REGISTRY[other].client_port}}}"
    assert SERVICES[name]["environment"][setting] == f"${{{setting}:-http://127.0.0.1:{port}}}"


@pytest.mark.parametrize("name", SERVICES)
def test_no_log_fills_the_disk(name: str) -> None:
    """An engine keeps whatever a container says, for ever, unless it is told otherwise."""
    options = SERVICES[name]["logging"]["options"]
    assert int(options["max-size"].removesuffix("m")) * int(options["max-file"]) == LOG_MEGABYTES


def test_the_store_is_bounded_wherever_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full means 503; without a bound it means that the kernel ends the store."""
    monkeypatch.setattr(packages, "redis_server", lambda: Path("redis-server"))
    words = redis.configure(Layout(tmp_path), port=6379)[1:]
    native = [
        f"{name.removeprefix('--')} {value}" for name, value in zip(words[::2], words[1::2], strict=True)
    ]
    contained = (ROOT / "deploy" / "redis" / "redis.conf").read_text().splitlines()
    for lines in (native, contained):
        assert "hash-max-listpack-value 1024" in lines
        assert sum(line.startswith("maxmemory ") for line in lines) == 1
    (bound,) = (int(line.split()[1]) for line in native if line.startswith("maxmemory "))
    assert 0 < bound < psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("rabbitmq1", "rabbitmq"),
        ("redis", "redis"),
        ("cache", "redis"),
        ("postgres", "postgres"),
        ("prometheus", "prometheus"),
    ],
)
def test_images_are_built_offline_under_the_names_that_compose_asks_for(service: str, name: str) -> None:
    """The same defaults in both places, and exact versions."""
    default = re.fullmatch(r"\$\{\w+_IMAGE:-(.+)\}", SERVICES[service]["image"])
    assert default is not None
    assert re.search(r":v?\d+\.\d+", default[1])
    script = (ROOT / "deploy" / "offline" / "build").read_text()
    assert f"[{name}]=" in script
    assert f":-{default[1]}}}" in script


def test_one_base_image_is_named_everywhere() -> None:
    """Dockerfile, compose and the offline build agree on the Python that they mean."""
    dockerfile = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert dockerfile is not None
    for place in ("docker-compose.yml", "deploy/offline/build", "deploy/offline/wheels"):
        assert f"PYTHON_IMAGE:-{dockerfile[1]}}}" in (ROOT / place).read_text()


def test_traces_have_a_profile_of_their_own_and_go_where_the_shell_says() -> None:
    """Every service alike; none of them, unless it says so. The image is an exact version."""
    assert SERVICES["jaeger"]["profiles"] == ["traces"]
    assert re.search(r":-jaegertracing/[\w-]+:\d+\.\d+\.\d+\}$", SERVICES["jaeger"]["image"])
    for name in REGISTRY:
        told = SERVICES[name]["environment"]
        assert told["OTEL_EXPORTER_OTLP_ENDPOINT"] is told["OTEL_TRACES_SAMPLER_ARG"] is None


@pytest.mark.parametrize("setting", ["PAYMENTS", "PROCESSOR_PAYMENT_LIMIT", "PROCESSOR_PAYMENT_MISHAPS"])
def test_the_shell_says_whether_orders_are_paid_for(setting: str) -> None:
    """As the README has it; the file sets no value of its own."""
    assert SERVICES["order_processor"]["environment"][setting] is None


def test_the_edge_fills_in_every_variable_of_its_template() -> None:
    """Natively and in compose alike; one that is left would be a fault of nginx at its start."""
    template = (ROOT / "deploy" / "edge" / "edge.conf.template").read_text()
    needed = set(re.findall(r"\$\{(EDGE_[A-Z_]+)\}", template))
    environment = EDGE_FILE["services"]["edge"]["environment"]
    assert needed == {name for name in environment if name.startswith("EDGE_")}


def test_the_gateway_trusts_the_edge_s_address_and_not_its_network() -> None:
    """What comes to the published port has the address of a bridge, and may say what it likes."""
    edge, gateway = EDGE_FILE["services"]["edge"], EDGE_FILE["services"]["api_gateway"]
    address = edge["networks"]["edge"]["ipv4_address"]
    trusted = gateway["environment"]["GATEWAY_TRUSTED_PROXIES"]
    assert trusted.partition("$")[0] == address
    upstream = f"{gateway['networks']['edge']['ipv4_address']}:8080"
    assert edge["environment"]["EDGE_UPSTREAM"] == upstream
