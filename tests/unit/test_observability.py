"""What Prometheus is told to alert on, and Grafana to show, is what the services export."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from catalogue.reading import ReadFigures
from dashboard.overview.exposition import expose
from dashboard.overview.state import PipelineState
from shared import keyspace
from shared.http.metrics import HttpMetrics
from shared.metrics import PrometheusRouterMetrics, new_registry
from shared.orders.following import FollowerFigures
from shared.orders.model import OrderStatus, Trouble
from shared.orders.redis.trimming import LogTrimming
from shared.pipeline import CONSUMPTIONS, queues
from shared.redis.client import Redis
from tests.harness.dashboard import SERVICES, STORE, whole_brokers
from webhooks.figures import WebhookFigures

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "pipeline.json").read_text())
SCALERS = [
    each
    for path in (DEPLOY / "kubernetes" / "base" / "services").glob("*.yaml")
    for each in yaml.safe_load_all(path.read_text())
    if each["kind"] == "ScaledObject"
]
BY_PROMETHEUS_ITSELF = {"up"}
BY_THE_BROKERS = {  # seen on RabbitMQ 4.0.5; deploy/observability.py asks the running ones
    "rabbitmq_disk_space_available_bytes",
    "rabbitmq_global_messages_acknowledged_total",
    "rabbitmq_global_messages_confirmed_total",
    "rabbitmq_global_messages_delivered_consume_manual_ack_total",
    "rabbitmq_global_messages_received_confirm_total",
    "rabbitmq_process_resident_memory_bytes",
    "rabbitmq_resident_memory_limit_bytes",
}
NO_METRICS = {"and", "or", "by", "le", "unless", "on"}


def questions() -> dict[str, list[str]]:
    """Every expression in PromQL, by the name of what asks it."""
    asked: dict[str, list[str]] = {}
    for rule in RULES:
        asked.setdefault(rule.get("alert") or rule["record"], []).append(rule["expr"])
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", ()):
            asked.setdefault(panel["title"], []).append(target["expr"])
    for scaler in SCALERS:
        asked[f"scaler of {scaler['metadata']['name']}"] = [
            each["metadata"]["query"] for each in scaler["spec"]["triggers"]
        ]
    return asked


def metrics_in(expression: str) -> set[str]:
    """The names in an expression that are neither functions, nor labels, nor numbers."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)", "", expression)
    return set(re.findall(r"\b[a-z_:][a-z0-9_:]*\b(?!\s*\()", bare)) - NO_METRICS


@pytest.fixture(scope="module")
def exported() -> set[str]:
    """The names of all samples that the services expose."""
    registry = new_registry()
    PrometheusRouterMetrics(registry, CONSUMPTIONS[0].queue).batch(1, 0.1)
    HttpMetrics(registry).answered("POST", "/orders", 202, 0.1)
    ReadFigures(registry)
    for follower in keyspace.FOLLOWED:
        FollowerFigures(follower, registry)
    WebhookFigures(registry)
    LogTrimming(cast(Redis, None), registry, timeout_seconds=1.0, keep_seconds=1.0, most_entries=1)
    waiting: dict[OrderStatus | Trouble, float] = {OrderStatus.ACCEPTED: 1.0, Trouble.RETRYING: 1.0}
    state = PipelineState(
        store=replace(STORE, oldest_seconds=waiting),
        store_fault=None,
        broker=whole_brokers(),
        services=SERVICES,
    )
    text, _ = expose(state, registry, "text/plain")
    families = text_string_to_metric_families(text.decode())
    return {sample.name for family in families for sample in family.samples}


@pytest.mark.parametrize("name", questions())
def test_every_metric_that_is_asked_for_exists(name: str, exported: set[str]) -> None:
    """An alert on a name that nobody exports never fires."""
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    asked = {metric for expression in questions()[name] for metric in metrics_in(expression)}
    assert asked
    assert asked - exported - recorded - BY_PROMETHEUS_ITSELF - BY_THE_BROKERS == set()


@pytest.mark.parametrize("name", questions())
def test_every_queue_that_is_asked_for_exists(name: str) -> None:
    """The queues' names are those of the map."""
    asked = [
        queue for expression in questions()[name] for queue in re.findall(r'queue=~?"([^"]+)"', expression)
    ]
    for pattern in (alternative for queue in asked for alternative in queue.split("|")):
        assert any(re.fullmatch(pattern, queue.name) for queue in queues()), pattern


@pytest.mark.parametrize("rule", [rule for rule in RULES if "alert" in rule], ids=lambda rule: rule["alert"])
def test_an_alert_says_how_urgent_it_is_and_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    """Whoever is woken up by it needs both."""
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"].keys() == {"summary", "description"}


def test_panels_have_names_and_places_of_their_own() -> None:
    """No two lie on top of one another."""
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(taken) == len(set(taken))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "command", [("check", "config", "prometheus.yml"), ("test", "rules", "alerts.test.yml")], ids=" ".join
)
def test_promtool_accepts_it(command: tuple[str, ...]) -> None:
    """The syntax is right, and each alert fires on what it is meant for."""
    result = subprocess.run(
        ["promtool", *command], cwd=DEPLOY / "prometheus", capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
