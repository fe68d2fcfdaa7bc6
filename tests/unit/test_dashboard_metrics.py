"""``GET /metrics`` of the dashboard: what it tells to whom, and what it does when the store is away."""

import math
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from dashboard.overview.state import Answer, NodeState, NodeStatus, Question, ServiceState
from tests.harness.dashboard import NODES, SERVICES, STORE, Dashboard, dashboard, with_nodes

JSON = "application/json"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.fixture
async def served() -> AsyncIterator[Dashboard]:
    """A dashboard that has good news."""
    async with dashboard() as running:
        yield running


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("*/*", JSON),
        ("", JSON),
        ("application/json", JSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", JSON),
        ("text/*", JSON),
        ("image/png", JSON),
        ("text/plain;q=0.1, */*", JSON),
        ("text/plain;q=0", JSON),
        ("text/plain;q=nonsense", JSON),
        ("text/plain", TEXT),
        ("Text/Plain", TEXT),
        ("text/plain, application/json", TEXT),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", TEXT),
        ("text/plain;version=nonsense", TEXT),
        ("application/openmetrics-text;version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", TEXT),
        ("application/openmetrics-text;q=0.2, text/plain;q=0.9", TEXT),
        ("application/openmetrics-text", OPEN_METRICS),
        ("application/openmetrics-text;q=0.9, application/json;q=0.1", OPEN_METRICS),
        (PROMETHEUS_2, f"{OPEN_METRICS}; escaping=underscores"),
        (PROMETHEUS_3, f"{OPEN_METRICS}; escaping=allow-utf-8"),
    ],
)
async def test_only_who_names_a_format_of_prometheus_gets_it(
    served: Dashboard, accept: str, content_type: str
) -> None:
    """Everybody else, wildcards included, gets JSON; caches are told that it depends."""
    answer = await served.get("/metrics", Accept=accept)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["Vary"] == "Accept"


async def test_json_has_the_whole_pipeline(served: Dashboard) -> None:
    """Orders, stock, notifications, backlogs and nodes under the names of the contract."""
    told = await (await served.get("/metrics")).json()
    assert told["processed_orders_count"] == 1601
    assert told["orders"] == {"accepted": 7, "created": 1503, "rejected": 98}
    assert told["trouble"] == {"retrying": 0, "dead": 0}
    assert told["inventory"] == {"cable": 368, "mag-safe-phone-case": 98}
    assert told["notifications"] == {"sending": 1, "sent": 1600, "failed": 0, "declined": 0}
    assert told["outbox"] == {"size": 2, "oldest_age_seconds": 0.25}
    assert told["undecided"] == {"orders": 7, "oldest_age_seconds": 1.5}
    assert told["untold"] == {"orders": 1, "oldest_age_seconds": 0.5}
    assert told["log"] == {
        "entries": 4803,
        "unwritten_oldest_age_seconds": 0.25,
        "unpromised_oldest_age_seconds": 0.5,
    }
    assert told["queues"]["orders.queue"] == {
        "ready": 0,
        "unacked": 0,
        "consumers": 1,
        "members": 3,
        "online": 3,
        "leader": NODES[0],
    }
    assert [(node["node"], node["state"], node["alarms"]) for node in told["broker_nodes"]] == [
        (node, "running", []) for node in NODES
    ]
    assert told["as_of"] == {
        "store": "2025-11-21T08:30:05Z",
        "brokers": "2025-11-21T08:30:05Z",
        "brokers_age_seconds": 1.5,
    }
    assert told["services"] == {
        service.name: {"ready": True, "replicas": 1, "replicas_ready": 1, "reasons": {}}
        for service in SERVICES
    }
    assert (told["store"]["state"], told["store"]["reason"]) == ("running", None)
    assert told["attention"] == []
    assert "inventory_level" not in told
    assert "notification_status" not in told


@pytest.mark.parametrize("away", [False, True])
async def test_what_needs_attention_is_told_without_the_store_too(served: Dashboard, away: bool) -> None:
    """For those who do not read HTML."""
    served.store.away = away
    answer = await served.get("/attention")
    told = await answer.json()
    assert answer.status == 200
    assert (len(told["attention"]), told["flow"]) == ((1, "refused") if away else (0, "flowing"))


async def test_one_sku_and_one_order_can_be_asked_for(served: Dashboard) -> None:
    """``?sku=`` and ``?order_id=`` add what is known, null where nothing is."""
    asked = Question(sku="cable", order_id="order123")
    served.store.answers[asked] = Answer(inventory_level=368, notification={"status": "sent"})
    known = await (await served.get("/metrics?sku=cable&order_id=order123")).json()
    assert (known["inventory_level"], known["notification_status"]) == (368, "sent")
    unknown = await (await served.get("/metrics?sku=nope&order_id=nope")).json()
    assert unknown["inventory_level"] is None
    assert unknown["notification_status"] is None
    assert unknown["order_status"] is None


@pytest.mark.parametrize("accept", ["text/plain", PROMETHEUS_2, PROMETHEUS_3])
async def test_a_scraper_gets_the_same_figures(served: Dashboard, accept: str) -> None:
    """They parse as what they claim to be, and stand beside the process's own."""
    served.brokers.seen = with_nodes(
        served.brokers.seen,
        [
            NodeState(node=NODES[0], status=NodeStatus.RUNNING, alarms=["memory"]),
            NodeState(node=NODES[1], status=NodeStatus.UNREACHABLE),
        ],
    )
    served.services.seen = [*SERVICES[1:], ServiceState(name="api_gateway", silence="connection refused")]
    found = _samples(await _families(served, accept))
    assert found["pipeline_service_ready", "api_gateway"] == 0
    assert found["pipeline_service_ready", "notifier"] == 1
    assert found["pipeline_orders_processed_total"] == 1601
    assert found["pipeline_orders", "created"] == 1503
    assert found["pipeline_inventory_available", "cable"] == 368
    assert found["pipeline_notifications", "sent"] == 1600
    assert found["pipeline_outbox_orders"] == 2
    assert found["pipeline_outbox_oldest_age_seconds"] == 0.25
    assert found["pipeline_notifications_untold"] == 1
    assert found["pipeline_notifications_untold_oldest_age_seconds"] == 0.5
    assert found["pipeline_log_entries"] == 4803
    assert found["pipeline_log_unwritten_oldest_age_seconds"] == 0.25
    assert found["pipeline_log_unpromised_oldest_age_seconds"] == 0.5
    assert found["pipeline_orders_oldest_age_seconds", "accepted"] == 1.5
    assert ("pipeline_orders_oldest_age_seconds", "retrying") not in found
    assert found["pipeline_store_memory_bytes"] == 8_000_000
    assert found["pipeline_store_memory_limit_bytes"] == 400_000_000
    assert found["pipeline_store_clients"] == 12
    assert found["pipeline_store_commands_total"] == 70_000
    assert found["pipeline_store_writing"] == 1
    assert found["pipeline_queue_messages", "orders.queue", "ready"] == 0
    assert found["pipeline_queue_consumers", "orders.queue"] == 1
    assert found["pipeline_queue_members", "orders.dead"] == 3
    assert found["pipeline_broker_node_up", NODES[0]] == 1
    assert found["pipeline_broker_node_up", NODES[1]] == 0
    assert found["pipeline_broker_node_alarms", NODES[0]] == 1
    assert found["pipeline_store_up"] == 1
    assert found["process_start_time_seconds"] > 0


async def test_figures_that_are_not_known_are_not_exposed(served: Dashboard) -> None:
    """Neither a broken stock entry nor queues of long ago; how old they are is."""
    served.store.figures = replace(
        STORE, inventory={"broken": None}, processed=None, server=None, untold=None
    )
    served.brokers.seen = replace(served.brokers.seen, age_seconds=60.0)
    found = _samples(await _families(served, "text/plain"))
    assert "pipeline_orders_processed_total" not in found
    assert ("pipeline_inventory_available", "broken") not in found
    assert "pipeline_store_memory_bytes" not in found
    assert "pipeline_notifications_untold" not in found
    assert ("pipeline_queue_consumers", "orders.queue") not in found
    assert found["pipeline_broker_state_age_seconds"] == 60


async def test_without_the_store_json_is_refused(served: Dashboard) -> None:
    """503 as a problem that asks to come again."""
    served.store.away = True
    answer = await served.get("/metrics?sku=cable", X_Correlation_ID="test-7")
    assert answer.status == 503
    assert answer.content_type == "application/problem+json"
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["X-Correlation-ID"] == "test-7"
    problem = await answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance", "correlation_id"}
    assert (problem["status"], problem["correlation_id"]) == (503, "test-7")


async def test_without_the_store_a_scraper_learns_the_rest(served: Dashboard) -> None:
    """The brokers' and the process's figures are there, and the store is said to be down."""
    served.store.away = True
    found = _samples(await _families(served, PROMETHEUS_3))
    assert found["pipeline_store_up"] == 0
    assert "pipeline_orders_processed_total" not in found
    assert found["pipeline_broker_node_up", NODES[0]] == 1


async def _families(served: Dashboard, accept: str) -> list[Metric]:
    answer = await served.get("/metrics", Accept=accept)
    parse = parse_open_metrics if answer.content_type.startswith("application/openmetrics") else parse_text
    return list(parse(await answer.text()))


def _samples(families: Iterable[Metric]) -> dict[str | tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()) if sample.labels else sample.name: sample.value
        for family in families
        for sample in family.samples
        if not math.isnan(sample.value)
    }
