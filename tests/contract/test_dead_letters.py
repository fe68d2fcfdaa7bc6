"""What every adapter promises about looking into dead letters: nothing is lost, nothing changes its place."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from dashboard.dead_letters.actions import Erase
from dashboard.dead_letters.desk import DeadLetterDesk
from dashboard.dead_letters.erasing import ErasedLetters
from dashboard.dead_letters.store import RedisTurns
from dashboard.dead_letters.trail import RedisAuditTrail
from shared import keyspace
from shared.messages import content_fingerprint, encode, join
from shared.messaging.dead_letters import DeadLettersBusy, Letters
from shared.messaging.ports import Delivery, OutgoingMessage
from shared.orders.redis.dead_letters import RedisOrderBooks
from shared.orders.redis.erasure import RedisErasedOrders
from shared.pipeline import NOTIFIER, ORDER_PROCESSOR
from shared.redis.client import Redis
from shared.redis.lease import Lease
from tests.contract.conftest import BrokerUnderTest
from tests.harness.examples import an_order, created, placed
from tests.harness.stores import store_in_process

DEAD = ORDER_PROCESSOR.dead_queue
MANY = 300


@pytest.fixture
async def redis_in_process() -> AsyncIterator[Redis]:
    """An empty store: what is tried here is the broker."""
    async with store_in_process() as client:
        yield client


async def bury(broker: BrokerUnderTest, *bodies: str, queue: str = DEAD) -> None:
    """Puts letters into a dead-letter queue, one after the other."""
    for body in bodies:
        await broker.publisher.publish(
            OutgoingMessage(exchange="", routing_key=queue, body=body.encode(), headers={"op-reason": "test"})
        )


async def read(letters: Letters, count: int | None = None) -> list[Delivery]:
    """The next letters: so many, or all."""
    found: list[Delivery] = []
    while count is None or len(found) < count:
        batch = await letters.next(7 if count is None else count - len(found))
        if not batch:
            break
        found += batch
    return found


async def bodies(broker: BrokerUnderTest, queue: str = DEAD) -> list[str]:
    """What a look sees."""
    async with broker.dead_letters.look_into(queue) as letters:
        return texts(await read(letters))


def texts(deliveries: Sequence[Delivery]) -> list[str]:
    """Bodies as text."""
    return [delivery.body.decode() for delivery in deliveries]


def numbers(count: int) -> list[str]:
    """Bodies that tell their place."""
    return [f"{number:04d}" for number in range(count)]


async def test_an_empty_queue_has_no_letters(broker: BrokerUnderTest) -> None:
    """And saying so does not take long."""
    async with asyncio.timeout(5), broker.dead_letters.look_into(DEAD) as letters:
        assert letters.waiting == 0
        assert await letters.next(10) == ()
        assert letters.all_seen


async def test_what_a_letter_is_replaced_by_is_seen_by_the_same_look(broker: BrokerUnderTest) -> None:
    """It lies behind the others, and the letter is gone."""
    await bury(broker, "batch", "other")
    async with broker.dead_letters.look_into(DEAD) as letters:
        first, _ = await read(letters, 2)
        await bury(broker, "one", "two")
        await letters.replace(first, 2)
        assert texts(await read(letters)) == ["one", "two"]
        assert letters.all_seen
    assert sorted(await bodies(broker)) == ["one", "other", "two"]


async def test_a_letter_is_shown_with_its_headers(broker: BrokerUnderTest) -> None:
    """Whoever looks learns why it is there."""
    await bury(broker, "one")
    async with broker.dead_letters.look_into(DEAD) as letters:
        (letter,) = await letters.next(10)
    assert (letter.body, letter.headers["op-reason"]) == (b"one", "test")


async def test_looking_changes_neither_number_nor_order_however_often(broker: BrokerUnderTest) -> None:
    """Twenty-five looks are more than any delivery limit that a broker has by default."""
    await bury(broker, *numbers(30))
    for _ in range(25):
        assert await bodies(broker) == numbers(30)


@pytest.mark.parametrize("seen", [0, 1, 17, MANY - 1])
async def test_a_look_that_ends_early_leaves_everything_in_its_place(
    broker: BrokerUnderTest, seen: int
) -> None:
    """Reading only the first few letters does not move them behind the others."""
    await bury(broker, *numbers(MANY))
    async with broker.dead_letters.look_into(DEAD) as letters:
        assert texts(await read(letters, seen)) == numbers(seen)
    assert await bodies(broker) == numbers(MANY)


async def test_a_look_that_fails_leaves_everything_in_its_place(broker: BrokerUnderTest) -> None:
    """An error of whoever looks is not the letters'."""
    await bury(broker, *numbers(20))

    async def look_and_fail() -> None:
        async with broker.dead_letters.look_into(DEAD) as letters:
            await read(letters, 5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await look_and_fail()
    assert await bodies(broker) == numbers(20)


async def test_letters_that_arrive_later_stand_behind_those_that_were_looked_at(
    broker: BrokerUnderTest,
) -> None:
    """The order is that of arrival, whenever somebody looked."""
    await bury(broker, *numbers(10))
    assert await bodies(broker) == numbers(10)
    await bury(broker, "later")
    assert await bodies(broker) == [*numbers(10), "later"]
    assert await bodies(broker) == [*numbers(10), "later"]


async def test_a_removed_letter_is_gone_and_the_rest_keeps_its_order(broker: BrokerUnderTest) -> None:
    """Taking some out of the middle takes out those and no others."""
    await bury(broker, *numbers(12))
    async with broker.dead_letters.look_into(DEAD) as letters:
        for letter in await read(letters):
            if letter.body in (b"0003", b"0008"):
                await letters.remove(letter)
    rest = [number for number in numbers(12) if number not in ("0003", "0008")]
    assert await bodies(broker) == rest
    assert await bodies(broker) == rest


async def test_what_arrives_during_a_look_is_left_to_the_next_one(broker: BrokerUnderTest) -> None:
    """A message that is sent back and dies again at once is not met twice in one go."""
    await bury(broker, "first", "second")
    async with broker.dead_letters.look_into(DEAD) as letters:
        first, second = await read(letters, 2)
        await letters.remove(first)
        await bury(broker, "first again")
        assert await letters.next(10) == ()
        assert letters.all_seen
        await letters.remove(second)
    assert await bodies(broker) == ["first again"]


async def test_letters_of_an_erased_customer_go_and_the_others_stay(
    broker: BrokerUnderTest, redis_in_process: Redis
) -> None:
    """From both queues and from within a batch, byte for byte the rest as it was."""
    ann, bob = (
        an_order("a", cable=1, email="ann@example.com"),
        an_order("b", email="bob@example.com", cable=1),
    )
    await redis_in_process.zadd(keyspace.ERASED, {f"a:{content_fingerprint(ann)}": 1})
    letters: dict[str, list[bytes]] = {
        DEAD: [
            encode(placed(bob)),
            encode(placed(ann)),
            b"no event",
            encode(placed(replace(ann, email=None))),
        ],
        NOTIFIER.dead_queue: [join([encode(created(ann)), encode(created(bob))])],
    }
    for queue, contents in letters.items():
        await bury(broker, *(body.decode() for body in contents), queue=queue)
    books = RedisOrderBooks(redis_in_process, timeout_seconds=5.0)
    turns = RedisTurns(Lease(redis_in_process, keyspace.DEAD_LETTERS_LEASE, timeout_seconds=5.0))
    desk = DeadLetterDesk(
        box=broker.dead_letters,
        publisher=broker.publisher,
        turns=turns,
        trail=RedisAuditTrail(redis_in_process, timeout_seconds=5.0),
        clock=time.time,
    )
    orders = RedisErasedOrders(redis_in_process, timeout_seconds=5.0)
    await ErasedLetters(desk, orders, Erase(books)).round()
    assert await bodies(broker) == [text.decode() for text in letters[DEAD] if text != letters[DEAD][1]]
    assert await bodies(broker, NOTIFIER.dead_queue) == [encode(created(bob)).decode()]
    assert await orders.ages() == {}


async def test_only_one_looks_at_a_time(broker: BrokerUnderTest) -> None:
    """A second look is refused instead of seeing half of the letters."""
    await bury(broker, *numbers(3))
    async with broker.dead_letters.look_into(DEAD) as letters:
        await read(letters)
        with pytest.raises(DeadLettersBusy):
            async with broker.dead_letters.look_into(DEAD):
                pass
        async with broker.dead_letters.look_into(NOTIFIER.dead_queue) as others:
            assert others.waiting == 0
    assert await bodies(broker) == numbers(3)


async def test_a_look_right_after_another_sees_everything(broker: BrokerUnderTest) -> None:
    """What the look before gave back is there again before the next one counts."""
    await bury(broker, *numbers(50))
    for _ in range(10):
        async with broker.dead_letters.look_into(DEAD) as letters:
            assert letters.waiting == 50


@pytest.fixture
def shallow(monkeypatch: pytest.MonkeyPatch) -> int:
    """Looks that see ten letters deep."""
    for module in ("dead_letters", "rabbitmq.dead_letters", "memory"):
        monkeypatch.setattr(f"shared.messaging.{module}.LETTERS_PER_LOOK", 10)
    return 10


async def test_a_queue_deeper_than_a_look_keeps_its_order_too(broker: BrokerUnderTest, shallow: int) -> None:
    """A look sees the first letters, always the same, and says that there are more."""
    await bury(broker, *numbers(25))
    for _ in range(3):
        async with broker.dead_letters.look_into(DEAD) as letters:
            assert texts(await read(letters)) == numbers(shallow)
            assert (letters.waiting, letters.all_seen) == (25, False)


async def test_removing_makes_room_to_go_through_all_of_a_deep_queue(
    broker: BrokerUnderTest, shallow: int
) -> None:
    """What is removed no longer counts towards what may be out; what stays keeps its order."""
    await bury(broker, *numbers(40))
    kept = numbers(40)[::8]
    async with broker.dead_letters.look_into(DEAD) as letters:
        while batch := await letters.next(4):
            for letter in batch:
                if letter.body.decode() not in kept:
                    await letters.remove(letter)
        assert letters.all_seen
    assert await bodies(broker) == kept


async def test_letters_are_counted_without_a_look(broker: BrokerUnderTest) -> None:
    """Those that lie there at this moment; how many it is cannot be said while they are out."""
    assert await broker.dead_letters.waiting(DEAD) == 0
    await bury(broker, "one", "two")
    assert await broker.dead_letters.waiting(DEAD) == 2
    async with broker.dead_letters.look_into(DEAD) as letters:
        await read(letters)
        assert await broker.dead_letters.waiting(DEAD) is None
    assert await bodies(broker) == ["one", "two"]
