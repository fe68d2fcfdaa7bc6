"""Accepting an order: durable first, published second, and never promised when it may be forgotten."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from fakeredis import FakeServer

from api_gateway.intake import OrderIntake
from api_gateway.ports import NotDurable
from shared.breaker import Breaker
from shared.errors import StoreUnavailable
from shared.messages import OrderPlaced
from shared.messaging.memory import MemoryBroker
from shared.orders.placement import Accepted, Duplicate, KeyReused, OutboxFull, PriceChanged, Replayed
from shared.pipeline import ORDER_PROCESSOR
from tests.harness.examples import TRACE, an_order
from tests.harness.gateway import TEXT, a_placement, order_store
from tests.harness.pricing import price, prices_of
from tests.harness.routing import InterruptiblePublisher, event_of, messages_in
from tests.harness.stores import store_in_process

QUEUE = ORDER_PROCESSOR.queue


@dataclass(slots=True)
class Gateway:
    """An intake whose broker, clock and store a test can break."""

    redis: Any
    server: FakeServer
    outbox_limit: int = 100
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    confirmed: list[str] = field(default_factory=list)
    durable: bool = True
    now: float = 100.0
    publisher: InterruptiblePublisher = field(init=False)
    intake: OrderIntake = field(init=False)

    def __post_init__(self) -> None:
        self.publisher = InterruptiblePublisher(self.broker)
        self.intake = OrderIntake(
            store=order_store(self.redis, outbox_limit=self.outbox_limit),
            publisher=self.publisher,
            confirmed=self,
            breaker=Breaker(
                known_down=lambda: self.broker.unready_reason() is not None, clock=lambda: self.now
            ),
            store_is_durable=lambda: self.durable,
        )

    def add(self, order_id: str) -> None:
        """See ConfirmedOrders."""
        self.confirmed.append(order_id)

    async def waiting(self) -> list[str]:
        """What lies in the outbox."""
        entries: list[str] = await self.redis.zrange("outbox", 0, -1)
        return entries


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """A gateway in which everything works."""
    server = FakeServer()
    async with store_in_process(server) as redis:
        yield Gateway(redis, server)


async def test_an_accepted_order_is_published_under_its_trace_and_confirmed(gateway: Gateway) -> None:
    """The event's time is that of the acceptance, so that it can be published again as the same."""
    order = an_order("a", cable=2)
    assert await gateway.intake.place(a_placement(order)) == Accepted(order_id="a")
    assert gateway.confirmed == ["a"]
    (delivery,) = await messages_in(gateway.broker, QUEUE)
    event = event_of(delivery.body)
    assert (event.data, event.trace, event.source) == (OrderPlaced(order=order), TRACE, "/api_gateway")
    ((_, accepted_at),) = await gateway.redis.zrange("outbox", 0, -1, withscores=True)
    assert round(event.time.timestamp() * 1_000_000) == accepted_at


async def test_the_message_has_the_prices_of_the_answer(gateway: Gateway) -> None:
    """The processor and the letter know what the client was told."""
    await price(gateway.redis, "cable", 1999)
    order = an_order("a", cable=2)
    result = await gateway.intake.place(a_placement(order))
    assert result == Accepted(order_id="a", prices=prices_of(3998, 1999))
    (delivery,) = await messages_in(gateway.broker, QUEUE)
    assert event_of(delivery.body).data == OrderPlaced(order=order, prices=prices_of(3998, 1999))


async def test_what_is_refused_for_its_price_is_not_published(gateway: Gateway) -> None:
    """Nothing was accepted."""
    await price(gateway.redis, "cable", 1999)
    result = await gateway.intake.place(a_placement(an_order("a"), amount_total=1))
    assert result == PriceChanged(order_id="a", prices=prices_of(1999, 1999))
    assert await messages_in(gateway.broker, QUEUE) == []


@pytest.mark.parametrize("how", ["no connection", "no confirm"])
async def test_without_a_broker_the_order_waits_in_the_outbox_and_is_accepted(
    gateway: Gateway, how: str
) -> None:
    """The store keeps it, so the promise can be made."""
    if how == "no connection":
        gateway.broker.go_down()
    else:
        gateway.publisher.away = True
    assert await gateway.intake.place(a_placement(an_order("a"))) == Accepted(order_id="a")
    assert await gateway.waiting() == ["a"]
    assert (gateway.confirmed, gateway.publisher.refused) == ([], int(how == "no confirm"))


async def test_after_a_failed_publish_others_do_not_wait_for_the_broker(gateway: Gateway) -> None:
    """One order per pause asks whether it is back; all are accepted."""
    gateway.publisher.away = True
    for order_id in "abc":
        await gateway.intake.place(a_placement(an_order(order_id)))
    assert gateway.publisher.refused == 1
    gateway.now += 1.0
    gateway.publisher.away = False
    for order_id in "de":
        await gateway.intake.place(a_placement(an_order(order_id)))
    assert gateway.confirmed == ["d", "e"]
    assert await gateway.waiting() == list("abcde")


async def test_a_queue_that_is_gone_is_as_good_as_no_broker(gateway: Gateway) -> None:
    """An unroutable order waits until the queue is declared again."""

    class Unbound(MemoryBroker):
        def _targets(self, message: object) -> list[Any]:
            return []

    lost = Gateway(gateway.redis, gateway.server, broker=Unbound())
    assert await lost.intake.place(a_placement(an_order("a"))) == Accepted(order_id="a")
    assert (await lost.waiting(), lost.confirmed) == (["a"], [])


async def test_a_weak_store_and_no_broker_accept_nothing(gateway: Gateway) -> None:
    """Nobody could keep the promise, so nothing is written."""
    gateway.durable = False
    gateway.broker.go_down()
    with pytest.raises(NotDurable):
        await gateway.intake.place(a_placement(an_order("a")))
    assert await gateway.redis.keys("*") == []


async def test_a_weak_store_and_an_unconfirmed_publish_are_no_promise(gateway: Gateway) -> None:
    """The outcome is unknown and is told as such; asking again with the same id converges."""
    gateway.durable = False
    gateway.publisher.away = True
    with pytest.raises(NotDurable):
        await gateway.intake.place(a_placement(an_order("a")))
    assert await gateway.waiting() == ["a"]
    gateway.publisher.away = False
    gateway.now += 1.0
    again = await gateway.intake.place(a_placement(an_order("a")))
    assert isinstance(again, Duplicate)
    assert again.same_content


async def test_a_weak_store_is_good_enough_with_a_confirm(gateway: Gateway) -> None:
    """The broker's disks have the order then."""
    gateway.durable = False
    assert await gateway.intake.place(a_placement(an_order("a"))) == Accepted(order_id="a")


async def test_a_replay_on_a_weak_store_promises_no_more_than_the_first_answer_could(
    gateway: Gateway,
) -> None:
    """While the order waits unconfirmed, the replay tries to have it confirmed, or makes no promise."""
    gateway.durable = False
    gateway.publisher.away = True
    with pytest.raises(NotDurable):
        await gateway.intake.place(a_placement(an_order("a"), key="k"))
    gateway.now += 1.0
    with pytest.raises(NotDurable):
        await gateway.intake.place(a_placement(an_order("a"), key="k"))
    gateway.now += 1.0
    gateway.publisher.away = False
    assert isinstance(await gateway.intake.place(a_placement(an_order("a"), key="k")), Replayed)
    assert gateway.confirmed == ["a"]


async def test_a_replay_publishes_nothing_where_the_store_is_durable(gateway: Gateway) -> None:
    """The relay sees to it."""
    gateway.publisher.away = True
    await gateway.intake.place(a_placement(an_order("a"), key="k", media_type=TEXT))
    gateway.publisher.away = False
    gateway.now += 1.0
    again = await gateway.intake.place(a_placement(an_order("a"), key="k"))
    assert again == Replayed(order_id="a", media_type=TEXT)
    assert gateway.publisher.published == []


async def test_a_duplicate_and_a_reused_key_publish_nothing(gateway: Gateway) -> None:
    """Only what is new is announced."""
    await gateway.intake.place(a_placement(an_order("a"), key="k"))
    assert isinstance(await gateway.intake.place(a_placement(an_order("a"))), Duplicate)
    assert isinstance(await gateway.intake.place(a_placement(an_order("b"), key="k")), KeyReused)
    assert len(gateway.publisher.published) == 1


async def test_a_full_outbox_is_told_before_anything_is_published(gateway: Gateway) -> None:
    """Memory stays bounded however long the brokers are away."""
    full = Gateway(gateway.redis, gateway.server, outbox_limit=1)
    full.publisher.away = True
    await full.intake.place(a_placement(an_order("a")))
    with pytest.raises(OutboxFull):
        await full.intake.place(a_placement(an_order("b")))
    assert await full.waiting() == ["a"]


async def test_without_the_store_nothing_is_published(gateway: Gateway) -> None:
    """An order that was never recorded must not reach the processor."""
    gateway.server.connected = False
    with pytest.raises(StoreUnavailable):
        await gateway.intake.place(a_placement(an_order("a")))
    assert gateway.publisher.published == []
