"""The map of exchanges, queues and bindings: complete, named as the contract has it, and safe."""

import pytest

from shared.messages import EVENT_TYPES
from shared.pipeline import (
    BINDINGS,
    CONSUMPTIONS,
    EXCHANGES,
    NOTIFIER,
    ORDER_PROCESSOR,
    RETRY_TIERS_SECONDS,
    ROUTES,
    SHOP_EXCHANGE,
    SHOP_ROUTES,
    Consumption,
    Queue,
    queues,
)

BY_NAME = {queue.name: queue for queue in queues()}
EVERY_QUEUE = pytest.mark.parametrize("queue", queues(), ids=lambda queue: queue.name)
EVERY_CONSUMPTION = pytest.mark.parametrize("consumption", CONSUMPTIONS, ids=lambda each: each.service)


def test_the_names_are_those_of_the_contract() -> None:
    """Other systems and operators know these exchanges, queues and keys."""
    assert {(each.name, each.type) for each in EXCHANGES} >= {
        ("orders.direct", "direct"),
        ("orders.topic", "topic"),
        ("shop.topic", "topic"),
    }
    assert (ORDER_PROCESSOR.queue, ORDER_PROCESSOR.dead_queue) == ("orders.queue", "orders.dead")
    assert (NOTIFIER.queue, NOTIFIER.dead_queue) == ("notifier.queue", "notifier.dead")
    assert {(each.exchange, each.routing_key, each.queue) for each in BINDINGS} >= {
        ("orders.direct", "order.placed", "orders.queue"),
        ("orders.topic", "order.*", "notifier.queue"),
    }


def test_every_queue_is_declared_once() -> None:
    """Each consumer's queue, its dead letters and its five tiers."""
    assert len(queues()) == len(BY_NAME) == 7 * len(CONSUMPTIONS)


@EVERY_QUEUE
def test_a_queue_is_replicated_and_never_drops_what_it_was_given(queue: Queue) -> None:
    """A full queue refuses the publisher instead of dropping its oldest message."""
    assert queue.arguments["x-queue-type"] == "quorum"
    assert queue.arguments["x-quorum-initial-group-size"] == 3
    assert queue.arguments["x-overflow"] == "reject-publish"


@EVERY_QUEUE
def test_a_queue_says_how_often_it_delivers(queue: Queue) -> None:
    """Without a limit, brokers differ: none on 3.10, twenty on 4.0; and looking must never drop."""
    consumed = queue.name in {consumption.queue for consumption in CONSUMPTIONS}
    assert queue.arguments["x-delivery-limit"] == (20 if consumed else 2_147_483_647)


@EVERY_QUEUE
def test_a_dead_letter_target_exists_and_was_declared_before(queue: Queue) -> None:
    """At-least-once dead lettering into a queue that is missing would block, and lose with less."""
    target = queue.arguments.get("x-dead-letter-routing-key")
    if queue.name in {consumption.dead_queue for consumption in CONSUMPTIONS}:
        assert target is None
        return
    assert queue.arguments["x-dead-letter-exchange"] == ""
    assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"
    assert isinstance(target, str)
    assert target in BY_NAME
    is_tier = "x-message-ttl" in queue.arguments
    names = list(BY_NAME)
    assert is_tier or names.index(target) < names.index(queue.name)


@EVERY_CONSUMPTION
def test_each_consumer_has_tiers_of_its_own_that_lead_back_to_it(consumption: Consumption) -> None:
    """A broken consumer delays nobody else."""
    for seconds in RETRY_TIERS_SECONDS:
        tier = BY_NAME[consumption.retry_queue(seconds)]
        assert tier.name == f"{consumption.queue.removesuffix('.queue')}.retry.{seconds}"
        assert tier.arguments["x-message-ttl"] == seconds * 1000
        assert tier.arguments["x-dead-letter-routing-key"] == consumption.queue
    assert BY_NAME[consumption.queue].arguments["x-dead-letter-routing-key"] == consumption.dead_queue


def test_every_event_has_a_route_that_a_binding_takes_up() -> None:
    """Nothing can be published that no queue would get."""
    assert set(ROUTES) == set(EVENT_TYPES)
    for route in ROUTES.values():
        taken = [
            binding
            for binding in BINDINGS
            if binding.exchange == route.exchange
            and binding.routing_key.rpartition(".")[0] == route.routing_key.rpartition(".")[0]
        ]
        assert taken


def test_nothing_need_listen_to_the_shop() -> None:
    """Its events go to an exchange of their own by their type without its version; orders' are mandatory."""
    assert {route.exchange for route in SHOP_ROUTES.values()} == {SHOP_EXCHANGE.name}
    assert all(f"{route.routing_key}.v1" == kind for kind, route in SHOP_ROUTES.items())
    assert not any(route.mandatory for route in SHOP_ROUTES.values())
    assert all(route.mandatory for route in ROUTES.values())


def test_the_tiers_are_those_of_the_contract() -> None:
    """One second, five, half a minute, two minutes, ten minutes."""
    assert RETRY_TIERS_SECONDS == (1, 5, 30, 120, 600)
