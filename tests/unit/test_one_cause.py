"""One cause is one sentence: what it explains is not said again."""

from dataclasses import replace

import pytest

from dashboard.overview.attention import ORDERCTL
from dashboard.overview.state import (
    NodeState,
    NodeStatus,
    QueueState,
    ServiceState,
)
from shared.orders.model import OrderStatus, Trouble
from tests.harness.dashboard import NODES, SERVICES, STORE, whole_brokers, with_nodes, with_queue
from tests.harness.verdicts import said, unready


def test_figures_that_are_old_because_no_broker_answers_are_no_second_thing() -> None:
    """One cause, one sentence."""
    nodes = [NodeState(node=name, status=NodeStatus.UNKNOWN) for name in NODES]
    assert len(said(broker=replace(whole_brokers(), nodes=nodes, age_seconds=42.0))) == 1


OLD = replace(STORE, oldest_seconds={OrderStatus.ACCEPTED: 3_600.0}, untold_oldest_seconds=3_600.0)


@pytest.mark.parametrize(
    ("names", "waiting"),
    [
        ((), ["Orders", "Customers"]),
        (("order_processor",), ["Customers"]),
        (("notifier",), ["Orders"]),
        (("api_gateway",), ["Orders", "Customers"]),
    ],
)
def test_what_a_service_explains_is_not_said_of_its_orders(
    names: tuple[str, ...], waiting: list[str]
) -> None:
    """Orders wait because nothing decides them: one cause, one sentence."""
    sentences = said(store=OLD, services=unready(*names, consumer="not consuming"))
    assert [each.split()[0] for each in sentences[len(names) :]] == waiting


def test_a_ledger_that_is_away_is_one_thing() -> None:
    """That it is behind goes without saying."""
    store = replace(STORE, unwritten_oldest_seconds=3_600.0)
    assert len(said(store=store, services=unready("ledger", postgres="refused"))) == 1


def test_orders_that_wait_for_a_broker_are_one_thing() -> None:
    """Whether two nodes are down, or no broker confirms what lies in the outbox."""
    nodes = [NodeState(node=node, status=NodeStatus.NOT_RUNNING) for node in NODES[:2]]
    assert len(said(store=OLD, broker=with_nodes(whole_brokers(), nodes))) == len(nodes)
    held = replace(OLD, outbox_oldest_seconds=3_600.0, untold_oldest_seconds=None)
    assert [each.split()[1] for each in said(store=held)] == ["outbox"]


def test_a_reason_that_several_services_give_is_one_thing() -> None:
    """In the words of their /readyz."""
    reason = "READONLY You can't write against a read only replica"
    both = unready("api_gateway", "notifier", redis=reason)
    assert said(services=both) == [
        f"api_gateway, notifier: not ready: redis: {reason}. If it does not run: {ORDERCTL} start redis"
    ]


def test_a_service_without_its_brokers_is_one_thing() -> None:
    """That it does not consume follows."""
    cut_off = unready("notifier", rabbitmq="connection refused", consumer="not consuming notifier.queue")
    assert said(services=cut_off) == [
        "notifier: not ready: rabbitmq: connection refused. See the log: .venv/bin/orderctl logs notifier"
    ]


def test_an_absent_store_is_one_thing() -> None:
    """However many services miss it."""
    assert len(said(store=None, services=unready(*(each.name for each in SERVICES), redis="away"))) == 1


def test_a_consumer_that_does_not_run_is_one_thing() -> None:
    """Its queue that nothing consumes is the same thing."""
    unread = with_queue(
        whole_brokers(), QueueState(name="orders.queue", consumers=0, members=NODES, online=NODES)
    )
    gone = [SERVICES[0], ServiceState(name="order_processor", silence="connection refused"), *SERVICES[2:]]
    (sentence,) = said(broker=unread, services=gone)
    assert sentence.startswith("order_processor: connection refused")


@pytest.mark.parametrize("down", [1, 2])
def test_dead_brokers_are_as_many_things_as_brokers(down: int) -> None:
    """Not one more for members that are offline with them, leaders lost, or services that miss them."""
    nodes = [
        NodeState(node=node, status=NodeStatus.NOT_RUNNING if index < down else NodeStatus.RUNNING)
        for index, node in enumerate(NODES)
    ]
    queues = {
        name: replace(queue, online=NODES[down:], is_leaderless=down == 2)
        for name, queue in whole_brokers().queues.items()
    }
    services = unready("api_gateway", rabbitmq="no quorum") if down == 2 else SERVICES
    broker = replace(whole_brokers(), nodes=nodes, queues=queues)
    assert len(said(broker=broker, services=services)) == down


def test_a_member_that_is_offline_on_a_node_that_runs_is_said() -> None:
    """No dead node explains it."""
    nodes = [NodeState(node=NODES[0], status=NodeStatus.NOT_RUNNING), *whole_brokers().nodes[1:]]
    queue = QueueState(name="orders.queue", consumers=1, members=NODES, online=NODES[:2])
    broker = with_queue(with_nodes(whole_brokers(), nodes), queue)
    (sentence,) = said(broker=broker)[1:]
    assert sentence.startswith("Queues with a member offline: orders.queue. ")


def test_a_dead_order_and_its_letter_are_one_thing() -> None:
    """A dead order that no letter accounts for is one of its own, and letters of others do not hide it."""
    dead = replace(STORE, trouble={Trouble.DEAD: 2})
    letters = QueueState(name="orders.dead", ready=2, members=NODES, online=NODES)
    others = QueueState(name="notifier.dead", ready=2, members=NODES, online=NODES)
    assert len(said(store=dead, broker=with_queue(whole_brokers(), letters))) == 1
    assert len(said(store=dead, broker=with_queue(whole_brokers(), others))) == 2
