"""What the dashboard says needs attention."""

from dataclasses import replace
from typing import Any

import pytest

from dashboard.overview.attention import ORDERCTL, Flow, attention, flow
from dashboard.overview.state import (
    BrokerState,
    NodeState,
    NodeStatus,
    PipelineState,
    QueueState,
    ServiceState,
    StoreServer,
    StoreState,
)
from shared.orders.model import OrderStatus, Trouble
from shared.redis.client import late
from shared.services import CACHE, DATABASE, SERVICES as REGISTRY
from tests.harness.dashboard import NODES, SERVICES, STORE, whole_brokers, with_nodes, with_queue
from tests.harness.verdicts import logs, restart, said, silent, unready


def running_nodes(count: int) -> BrokerState:
    """Brokers of which so many run."""
    statuses = [NodeStatus.RUNNING] * count + [NodeStatus.NOT_RUNNING] * (len(NODES) - count)
    nodes = [NodeState(node=node, status=status) for node, status in zip(NODES, statuses, strict=True)]
    return with_nodes(whole_brokers(), nodes)


WHOLE = PipelineState(store=STORE, store_fault=None, broker=whole_brokers(), services=SERVICES)


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        ({}, Flow.FLOWING),
        ({"services": silent("notifier")}, Flow.FLOWING),
        ({"broker": running_nodes(2)}, Flow.FLOWING),
        ({"broker": running_nodes(1)}, Flow.WAITING),
        ({"services": silent("order_processor")}, Flow.WAITING),
        ({"services": unready("api_gateway", rabbitmq="no quorum")}, Flow.FLOWING),
        ({"services": silent("api_gateway")}, Flow.REFUSED),
        ({"services": unready("api_gateway", redis="it is read-only")}, Flow.REFUSED),
        ({"store": None, "store_fault": "Redis: connection refused"}, Flow.REFUSED),
    ],
)
def test_it_is_told_whether_orders_flow(broken: dict[str, Any], expected: Flow) -> None:
    """Amber where they do, red where they wait or are refused."""
    assert flow(replace(WHOLE, **broken)) is expected


def test_a_whole_pipeline_needs_none() -> None:
    """Silence means that all is well."""
    assert said() == []


def test_an_absent_store_is_said() -> None:
    """With its reason."""
    (sentence,) = said(store=None)
    assert sentence == "Redis: connection refused. If it does not run: .venv/bin/orderctl start redis"


def test_a_store_that_hangs_is_not_started_but_ended_first() -> None:
    """A start finds that it runs already."""
    (sentence,) = attention(replace(WHOLE, store=None, store_fault=str(late(1))))
    assert sentence == "Redis: Redis did not answer within 1 s" + restart("redis")


def test_a_cache_or_a_database_of_no_use_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what brings it back; a cache that no service needs is nobody's business."""
    for name, service in list(REGISTRY.items()):
        monkeypatch.setitem(REGISTRY, name, replace(service, needs=frozenset()))
    assert said(cache_fault="no answer") == []
    needing = replace(REGISTRY["notifier"], needs=frozenset({CACHE, DATABASE}))
    monkeypatch.setitem(REGISTRY, "notifier", needing)
    start = "If it does not run: .venv/bin/orderctl start"
    assert said(cache_fault="no answer", services=unready("notifier", "dashboard", postgres="refused")) == [
        f"cache: no answer. {start} cache",
        f"notifier, dashboard: not ready: postgres: refused. {start} postgres",
    ]


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        (
            StoreServer(memory_bytes=85, memory_limit_bytes=100, clients=1, commands=1, is_writing=True),
            (
                "Redis uses 85 % of its memory; once it is full, no order is accepted. "
                "Raise its maxmemory, or shorten ORDER_RETENTION_SECONDS"
            ),
        ),
        (
            StoreServer(memory_bytes=85, memory_limit_bytes=0, clients=1, commands=1, is_writing=False),
            "Redis cannot write to its disk. Make room on it; it goes on by itself",
        ),
    ],
    ids=["nearly full", "its disk is full"],
)
def test_a_store_in_trouble_is_said(server: StoreServer, sentence: str) -> None:
    """Before it refuses orders."""
    assert said(store=replace(STORE, server=server)) == [sentence]


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        (
            NodeState(node="a", status=NodeStatus.NOT_RUNNING),
            "Broker node a does not run. Start it: .venv/bin/orderctl start a",
        ),
        (
            NodeState(node="a", status=NodeStatus.UNREACHABLE),
            "Broker node a does not answer, or its peers do not see it" + restart("a"),
        ),
        (
            NodeState(node="a", status=NodeStatus.RUNNING, alarms=["memory"]),
            (
                "Broker node a has a memory alarm: orders wait in the outbox. "
                "Give it memory, or let its queues empty; it goes on by itself"
            ),
        ),
        (
            NodeState(node="a", status=NodeStatus.RUNNING, alarms=["disk"]),
            (
                "Broker node a has a disk alarm: orders wait in the outbox. "
                "Make room on its disk; it goes on by itself"
            ),
        ),
    ],
)
def test_a_node_in_trouble_is_said(node: NodeState, sentence: str) -> None:
    """One sentence each."""
    assert said(broker=with_nodes(whole_brokers(), [node])) == [sentence]


def test_queues_need_no_more_members_than_there_can_be() -> None:
    """A broker that does not replicate is not short of members."""
    one = {
        name: replace(queue, members=("a",), online=("a",)) for name, queue in whole_brokers().queues.items()
    }
    alone = replace(whole_brokers(), queues=one)
    assert any("fewer than 3 members" in sentence for sentence in said(broker=alone))
    assert said(broker=replace(alone, members_needed=1)) == []


def test_silence_of_all_brokers_is_said_once() -> None:
    """With the reason of each endpoint, instead of a sentence for each node."""
    nodes = [NodeState(node=name, status=NodeStatus.UNKNOWN) for name in NODES]
    broker = replace(whole_brokers(), nodes=nodes, silence={"h:1": "connection refused"})
    assert said(broker=broker) == [
        f"No broker's management interface answers (h:1: connection refused). Start them: {ORDERCTL} up"
    ]


@pytest.mark.parametrize(
    ("queue", "sentence"),
    [
        (
            QueueState(name="orders.dead", ready=2, unacked=1, members=NODES, online=NODES),
            "Dead letters of order_processor in orders.dead: 3. See why: .venv/bin/orderctl dead list",
        ),
        (
            QueueState(name="notifier.dead", ready=1, unacked=None, members=NODES, online=NODES),
            "Dead letters of notifier in notifier.dead: 1. See why: .venv/bin/orderctl dead list",
        ),
        (
            QueueState(name="orders.queue", members=NODES, online=NODES, is_leaderless=True),
            (
                "Queues without a leader, so that nothing goes in or out: orders.queue. "
                "Start what is missing: .venv/bin/orderctl up"
            ),
        ),
        (
            QueueState(name="orders.queue", consumers=0, members=NODES, online=NODES),
            "Nothing consumes orders.queue. See the log: .venv/bin/orderctl logs order_processor",
        ),
        (
            QueueState(name="orders.queue", consumers=1, members=NODES[:1], online=NODES[:1]),
            "Queues with fewer than 3 members: orders.queue. Grow them: .venv/bin/orderctl up",
        ),
        (
            QueueState(name="orders.queue", consumers=1, members=NODES, online=NODES[:2]),
            "Queues with a member offline: orders.queue" + restart("rabbitmq3"),
        ),
    ],
)
def test_a_queue_in_trouble_is_said(queue: QueueState, sentence: str) -> None:
    """Dead letters, no consumer, too few members, members offline."""
    assert said(broker=with_queue(whole_brokers(), queue)) == [sentence]


def test_a_missing_queue_is_said() -> None:
    """A queue of the map that the brokers do not have loses orders."""
    broker = whole_brokers()
    rest = {name: queue for name, queue in broker.queues.items() if name != "orders.queue"}
    assert said(broker=replace(broker, queues=rest)) == [
        f"Queues that do not exist: orders.queue. Bring back what was in them: {ORDERCTL} verify --republish"
    ]


def test_old_figures_of_queues_are_not_judged() -> None:
    """That they are old is what needs attention."""
    dead = with_queue(whole_brokers(), QueueState(name="orders.dead", ready=2))
    assert said(broker=replace(dead, age_seconds=42.0)) == [
        "The figures of the queues are 42 s old. See which node is silent: .venv/bin/orderctl status"
    ]


@pytest.mark.parametrize(
    ("store", "sentence"),
    [
        (
            replace(STORE, outbox_oldest_seconds=31.0),
            "The outbox holds an order that has waited 31 s for a broker" + logs("api_gateway"),
        ),
        (
            replace(STORE, oldest_seconds={OrderStatus.ACCEPTED: 61.0}),
            "Orders without a decision: 7; the oldest has waited 61 s" + logs("order_processor"),
        ),
        (
            replace(STORE, untold=1_200, untold_oldest_seconds=901.0),
            "Customers who have not been told: 1,200; the oldest has waited 901 s" + logs("notifier"),
        ),
        (
            replace(STORE, trouble={Trouble.DEAD: 4}),
            "Dead orders whose dead letter is not in sight: 4. Look: .venv/bin/orderctl verify",
        ),
        (
            replace(STORE, unwritten_oldest_seconds=61.0),
            (
                "The ledger is behind: the oldest step that it has not written is 61 s old. "
                "See how far: .venv/bin/orderctl ledger status"
            ),
        ),
        (
            replace(STORE, unpromised_oldest_seconds=61.0),
            "Webhooks is behind: the oldest step that it has not read is 61 s old" + logs("webhooks"),
        ),
        (
            replace(STORE, inventory={"cable": -1, "case": 0}),
            "Stock below zero: cable. Set it: .venv/bin/orderctl inventory set cable QTY",
        ),
        (
            replace(STORE, inventory={"cable": None}),
            "Stock that is no whole number: cable. Set it: .venv/bin/orderctl inventory set cable QTY",
        ),
    ],
)
def test_figures_that_should_not_be_are_said(store: StoreState, sentence: str) -> None:
    """An outbox that does not drain, orders and customers that wait, dead orders, stock that cannot be."""
    assert said(store=store) == [sentence]


def test_long_lists_are_cut() -> None:
    """The first few names, and how many more."""
    stock = dict.fromkeys((f"sku-{number}" for number in range(8)), -1)
    assert said(store=replace(STORE, inventory=stock)) == [
        (
            "Stock below zero: sku-0, sku-1, sku-2, sku-3, sku-4 and 3 more. "
            "Set it: .venv/bin/orderctl inventory set sku-0 QTY"
        )
    ]


def test_a_service_that_does_not_run_is_said_with_what_helps() -> None:
    """The page does not call well what takes no orders."""
    gone = [ServiceState(name="api_gateway", silence="connection refused"), *SERVICES[1:]]
    assert said(services=gone) == [
        "api_gateway: connection refused. Start it: .venv/bin/orderctl start api_gateway"
    ]


def test_of_several_replicas_those_that_are_not_ready_are_counted() -> None:
    """Behind one name of a compose file."""
    two_of_three = ServiceState(name="notifier", replicas=3, ready=1, faults={"rabbitmq": "not connected"})
    assert said(services=[two_of_three]) == [
        "2 of 3 × notifier: not ready: rabbitmq: not connected. See the log: .venv/bin/orderctl logs notifier"
    ]
