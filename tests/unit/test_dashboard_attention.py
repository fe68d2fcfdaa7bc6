"""What the dashboard says needs attention."""

from dataclasses import replace

import pytest

from dashboard.overview.attention import attention
from dashboard.overview.state import (
    BrokerState,
    NodeState,
    NodeStatus,
    PipelineState,
    QueueState,
    StoreServer,
    StoreState,
)
from shared.keyspace import OrderStatus
from tests.harness.dashboard import NODES, STORE, whole_brokers, with_nodes, with_queue


def said(*, store: StoreState | None = STORE, broker: BrokerState | None = None) -> list[str]:
    """The sentences."""
    fault = None if store else "Redis did not answer"
    return attention(PipelineState(store=store, store_fault=fault, broker=broker or whole_brokers()))


def test_a_whole_pipeline_needs_none() -> None:
    """Silence means that all is well."""
    assert said() == []


def test_an_absent_store_is_said() -> None:
    """With its reason."""
    assert said(store=None) == ["The store is away: Redis did not answer"]


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        (
            StoreServer(memory_bytes=85, memory_limit_bytes=100, clients=1, commands=1, is_writing=True),
            "The store uses 85 % of its memory; once it is full, no order is accepted",
        ),
        (
            StoreServer(memory_bytes=85, memory_limit_bytes=0, clients=1, commands=1, is_writing=False),
            "The store cannot write to its disk",
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
        (NodeState(node="a", status=NodeStatus.NOT_RUNNING), "Broker node a does not run"),
        (
            NodeState(node="a", status=NodeStatus.UNREACHABLE),
            "Broker node a does not answer, or its peers do not see it",
        ),
        (
            NodeState(node="a", status=NodeStatus.RUNNING, alarms=["memory"]),
            "Broker node a has a memory alarm",
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
    assert said(broker=broker) == ["No broker's management interface answers (h:1: connection refused)"]


@pytest.mark.parametrize(
    ("queue", "sentence"),
    [
        (
            QueueState(name="orders.dead", ready=2, unacked=1, members=NODES, online=NODES),
            "Dead letters in orders.dead: 3",
        ),
        (
            QueueState(name="orders.queue", consumers=0, members=NODES, online=NODES),
            "Nobody consumes orders.queue: is order_processor running?",
        ),
        (
            QueueState(name="orders.queue", consumers=1, members=NODES[:1], online=NODES[:1]),
            "Queues with fewer than 3 members: orders.queue",
        ),
        (
            QueueState(name="orders.queue", consumers=1, members=NODES, online=NODES[:2]),
            "Queues with a member offline: orders.queue",
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
    assert said(broker=replace(broker, queues=rest)) == ["Queue orders.queue does not exist"]


def test_old_figures_of_queues_are_not_judged() -> None:
    """That they are old is what needs attention."""
    dead = with_queue(whole_brokers(), QueueState(name="orders.dead", ready=2))
    assert said(broker=replace(dead, age_seconds=42.0)) == ["The figures of the queues are 42 s old"]


@pytest.mark.parametrize(
    ("store", "sentence"),
    [
        (
            replace(STORE, outbox_oldest_seconds=31.0),
            "The outbox holds an order that has waited 31 s for a broker",
        ),
        (
            replace(STORE, orders={**STORE.orders, OrderStatus.DEAD: 4}),
            "Orders in a dead-letter queue: 4",
        ),
        (replace(STORE, inventory={"cable": -1, "case": 0}), "Stock below zero: cable"),
        (replace(STORE, inventory={"cable": None}), "Stock that is no whole number: cable"),
    ],
)
def test_figures_that_should_not_be_are_said(store: StoreState, sentence: str) -> None:
    """An outbox that does not drain, dead orders, stock below zero or broken."""
    assert said(store=store) == [sentence]


def test_long_lists_are_cut() -> None:
    """The first few names, and how many more."""
    stock = dict.fromkeys((f"sku-{number}" for number in range(8)), -1)
    assert said(store=replace(STORE, inventory=stock)) == [
        "Stock below zero: sku-0, sku-1, sku-2, sku-3, sku-4 and 3 more"
    ]
