"""Embedded mode from one command: the session of the README, dead letters, a load and its proof, and down."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import redis as blocking_redis
from prometheus_client.parser import text_string_to_metric_families

from orderctl.embedded import PROCESS, WARNING
from orderctl.native import processes
from orderctl.native.ports import is_free
from shared import keyspace
from shared.services import SERVICES
from tests.harness.embedded import operator_of_embedded
from tests.harness.terminal import Operator

pytestmark = pytest.mark.timeout(240)

SKU = "mag-safe-phone-case"
DECIDED_SECONDS = 30.0
FIRST_PORT = 29_000  # below those that the system gives to clients, which may take one at any time


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A system on ports of its own, gone after these tests."""
    with operator_of_embedded(tmp_path_factory.mktemp("embedded") / "data", FIRST_PORT) as operator:
        yield operator


@pytest.fixture(scope="module")
def welcome(operator: Operator) -> str:
    """What `up` printed."""
    return operator.types("up", "--mode", "embedded")


@pytest.fixture
def store(operator: Operator, welcome: str) -> Iterator[blocking_redis.Redis]:
    """The store as anybody reaches it who reads Redis."""
    with blocking_redis.Redis.from_url(operator.status()["redis"]["url"], decode_responses=True) as client:
        yield client


def asks(
    url: str, *, body: dict[str, Any] | None = None, accept: str = "*/*", method: str | None = None
) -> tuple[int, str]:
    """One request, as curl makes it."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Accept": accept} | ({"Content-Type": "application/json"} if body is not None else {})
    try:
        with urlopen(Request(url, data=data, headers=headers, method=method), timeout=10) as answer:  # noqa: S310 - http, to ourselves
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def url_of(operator: Operator, service: str) -> str:
    """Where clients reach a service."""
    return str(operator.status()["services"][service]["url"])


def settled(operations_url: str) -> float:
    """How many events a consumer has dealt with."""
    exposed = asks(f"{operations_url}/metrics", accept="text/plain")[1]
    samples = [each for family in text_string_to_metric_families(exposed) for each in family.samples]
    return sum(
        each.value
        for each in samples
        if each.name == "deliveries_settled_total" and each.labels["outcome"] == "done"
    )


def becomes(operator: Operator, order_id: str, status: str) -> Callable[[], bool]:
    """Whether an order has this status, or is in this trouble, by now."""
    url = f"{url_of(operator, 'api_gateway')}/orders/{order_id}"

    def has_become() -> bool:
        order = json.loads(asks(url)[1])
        return bool((order.get("trouble") or order["status"]) == status)

    return has_become


def decided(operator: Operator, order_id: str, status: str) -> None:
    """Waits until the order has this status."""
    has_become = becomes(operator, order_id, status)
    assert processes.wait_until(has_become, DECIDED_SECONDS), operator.types("order", "show", order_id)


def test_up_warns_and_returns_when_everything_works(operator: Operator, welcome: str) -> None:
    """One process stands behind every service; that nothing outlives it is said wherever one looks."""
    seen = operator.status()
    pids = {service["pid"] for service in seen["services"].values()}
    assert [name for name in SERVICES if not seen["services"][name]["ready"]] == []
    assert len(pids) == 1
    assert None not in pids
    assert [node["pid"] for node in seen["rabbitmq"]] + [seen["redis"]["pid"]] == [None, None]
    page = asks(f"{url_of(operator, 'dashboard')}/")[1]
    for said in (welcome, operator.types("status"), operator.types("doctor"), operator.types("logs"), page):
        assert WARNING in said
    assert "fault" not in operator.types("doctor")


def test_the_session_of_the_readme(operator: Operator, store: blocking_redis.Redis, welcome: str) -> None:
    """Accepted once, refused twice, stock taken, customer told, and all of it on the dashboard."""
    operator.types("inventory", "set", SKU, "100")
    orders = f"{url_of(operator, 'api_gateway')}/orders"
    order = {"id": "order123", "sku": SKU, "qty": 2}
    status, text = asks(orders, body=order)
    assert (status, json.loads(text)["message"]) == (202, "Order received: order123")
    assert asks(orders, body=order, accept="text/plain") == (409, "Duplicate order")
    decided(operator, "order123", "created")
    assert processes.wait_until(lambda: store.hget("notifications:order123", "status") == "sent", 10.0)
    assert store.get(f"inventory:{SKU}") == "98"
    assert store.ttl("idemp:order123") > 0
    figures = json.loads(asks(f"{url_of(operator, 'dashboard')}/metrics?sku={SKU}&order_id=order123")[1])
    assert (figures["inventory_level"], figures["notification_status"]) == (98, "sent")
    assert [(node["node"], node["state"]) for node in figures["broker_nodes"]] == [("in-memory", "running")]
    assert "order123" in operator.types("order", "list")
    assert SKU in operator.types("inventory", "list")


def test_what_was_told_is_in_the_ledger_and_counted(operator: Operator, welcome: str) -> None:
    """As the README has it, through the gateway, a moment later."""
    url = operator.status()["services"]["api_gateway"]["url"]
    assert asks(f"{url}/inventory/counted", body={"available": 9}, method="PUT")[0] == 200
    assert asks(f"{url}/orders", body={"id": "counted1", "sku": "counted", "qty": 2})[0] == 202

    def told() -> Any:
        status, answer = asks(f"{url}/notifications?order_id=counted1")
        return json.loads(answer)["notifications"] if status == 200 else []

    assert processes.wait_until(lambda: bool(told()), DECIDED_SECONDS, 0.1)
    (one,) = told()
    assert (one["event"], one["status"], one["channel"]) == ("order.created.v1", "sent", "log")
    statistics = json.loads(asks(f"{url}/stats")[1])
    assert {"sku": "counted", "qty": 2} in statistics["orders"]["best_sellers"]
    assert statistics["orders"]["days"][0]["orders"]["created"] >= 1
    assert statistics["products"]["products"] >= 0
    assert statistics["notes"] == {"users": "it takes a token"}
    assert "complete" not in json.loads(asks(f"{url}/orders")[1])


def test_a_replay_arrives_and_changes_nothing(
    operator: Operator, store: blocking_redis.Redis, welcome: str
) -> None:
    """From the ledger and the log to one consumer, as in the other modes: no letter and no piece twice."""
    seen = operator.status()["services"]
    gateway = seen["api_gateway"]["url"]
    processor, notifier = seen["order_processor"]["ops_url"], seen["notifier"]["ops_url"]
    assert asks(f"{gateway}/inventory/again", body={"available": 5}, method="PUT")[0] == 200
    assert asks(f"{gateway}/orders", body={"id": "again1", "sku": "again", "qty": 1})[0] == 202
    assert processes.wait_until(lambda: store.hget("notifications:again1", "status") == "sent", 10.0)
    told = operator.layout.log("notifier").read_text(encoding="utf-8").count("again1")
    handled = {url: settled(url) for url in (processor, notifier)}
    replay = ("replay", "--json", "--rate", "1000", "--to")
    one = json.loads(operator.types(*replay, "order_processor", "--order", "again1"))
    everything = json.loads(operator.types(*replay, "notifier", "--since", "30d"))
    assert (one["sent"], everything["lost"]) == ({"order.placed.v1": 1}, 0)
    assert everything["sent"]["order.created.v1"] >= 1
    sent = sum(everything["sent"].values()) + 1  # the processor announces its decision again
    assert processes.wait_until(lambda: settled(processor) == handled[processor] + 1, 10.0)
    assert processes.wait_until(lambda: settled(notifier) == handled[notifier] + sent, 10.0)
    assert store.get("inventory:again") == "4"
    assert operator.layout.log("notifier").read_text(encoding="utf-8").count("again1") == told


def test_prometheus_can_scrape_every_port(operator: Operator, welcome: str) -> None:
    """The dashboard's figures of the pipeline, and each service's own."""
    dashboard = f"{url_of(operator, 'dashboard')}/metrics"
    families = {
        family.name for family in text_string_to_metric_families(asks(dashboard, accept="text/plain")[1])
    }
    assert {"pipeline_orders_processed", "pipeline_broker_node_up", "pipeline_queue_messages"} <= families
    for name in SERVICES:
        url = operator.status()["services"][name]["ops_url"]
        assert "process_cpu_seconds_total" in asks(f"{url}/metrics", accept="text/plain")[1]


def test_dead_letters_are_listed_redriven_and_dropped(
    operator: Operator, store: blocking_redis.Redis
) -> None:
    """Orders whose stock is broken die; with it repaired one is sent back, and another one given up."""
    store.set("inventory:cracked", "many")
    for order_id in ("poor-1", "poor-2"):
        operator.types("order", "place", "--sku", "cracked", "--id", order_id)
        decided(operator, order_id, "dead")
    listed = json.loads(operator.types("dead", "list", "--json"))
    assert {letter["order_id"] for letter in listed["letters"]} == {"poor-1", "poor-2"}
    operator.types("inventory", "set", "cracked", "5")
    assert "poor-1" in operator.types("dead", "redrive", "poor-1")
    decided(operator, "poor-1", "created")
    operator.types("dead", "drop", "poor-2")
    decided(operator, "poor-2", "rejected")
    assert store.get("inventory:cracked") == "4"
    assert json.loads(operator.types("dead", "list", "--json"))["letters"] == []


def test_a_load_is_accounted_for(operator: Operator, welcome: str, tmp_path: Path) -> None:
    """Two hundred orders for half as many pieces, and `verify` finds every one of them."""
    operator.types("inventory", "set", "scarce", "100")
    ledger = str(tmp_path / "ledger.jsonl")
    load = ("load", "--orders", "200", "--concurrency", "10", "--sku", "scarce", "--ledger", ledger, "--json")
    assert json.loads(operator.types(*load))["acknowledged"] == 200
    verdict = json.loads(operator.types("verify", "--ledger", ledger, "--json"))
    assert (verdict["passed"], verdict["acknowledged"], verdict["reserved"]["scarce"]) == (True, 200, 100)


@pytest.mark.parametrize(
    ("command", "part"), [("kill", "notifier"), ("stop", "rabbitmq2"), ("start", "redis")]
)
def test_a_part_that_is_no_process_says_so(operator: Operator, welcome: str, command: str, part: str) -> None:
    """The reason, and what to do to break parts; nothing ends by it."""
    said = operator.hears(command, part, status=2)[1]
    assert f"{part} is no process of its own in embedded mode" in said
    assert "--mode native" in said


def test_another_mode_does_not_start_beside_it(operator: Operator, welcome: str) -> None:
    """Commands could not tell which of the two is meant."""
    assert "mode embedded runs here already" in operator.hears("up", "--mode", "native", status=1)[1]


def test_up_again_changes_nothing(operator: Operator, welcome: str) -> None:
    """Without a mode `up` means what runs, and leaves it as it is."""
    before = operator.pids()
    operator.types("up")
    assert operator.pids() == before


def test_each_service_has_its_own_log(operator: Operator, welcome: str) -> None:
    """Although they share a process."""
    lines = operator.types("logs", "order_processor").splitlines()
    assert {json.loads(line)["service"] for line in lines} == {"order_processor"}


def test_down_drains_and_leaves_nothing(operator: Operator, welcome: str) -> None:
    """What was accepted is still decided and announced, what waits for its next attempt is said to be lost.

    No process remains, and every port is free.
    """
    seen = operator.status()
    ports = [int(service["ops_url"].rpartition(":")[2]) for service in seen["services"].values()]
    ports.append(int(seen["redis"]["url"].rpartition(":")[2].partition("/")[0]))
    operator.types("load", "--orders", "20", "--sku", "scarce", "--ledger", "/dev/null")
    operator.types("redis", "ZADD", keyspace.UNTOLD, "1", "late:order.created.v1")
    assert "nothing was kept" in operator.types("down")
    assert processes.owned_by(operator.layout) == []
    assert [port for port in ports if not is_free(port)] == []
    (lost,) = (line for line in operator.layout.log(PROCESS).read_text().splitlines() if "lost with" in line)
    assert (json.loads(lost)["undecided"], json.loads(lost)["untold"]) == (0, 1)
    told = operator.layout.log("notifier").read_text(encoding="utf-8")
    assert told.count("load-") >= 20
    assert not any(service["ready"] for service in operator.status()["services"].values())
    operator.types("down", "--wipe")
    assert not operator.layout.data_dir.exists()
