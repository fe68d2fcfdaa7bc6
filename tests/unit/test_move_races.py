"""Every pair of things that can happen to one order at the same time, in every order of their steps.

Each step is one script or one read, which the store runs alone; what is enumerated is all that can come
between them. Afterwards the message is delivered once more, and the oracle finds nothing.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations_with_replacement
from typing import Any

import pytest

from api_gateway.announcing import AnnouncedMoves
from notifier.domain import TOLD, notification_of
from notifier.ports import Attempt, Claimed
from orderctl.verification.republishing import Republisher
from shared import keyspace
from shared.errors import BrokerUnavailable
from shared.messages import Event
from shared.messaging.ports import OutgoingMessage
from shared.messaging.retry import Bury, History, Wait
from shared.orders.decisions import Created, Decision, Rejected, event_of
from shared.orders.model import OUTCOMES, OrderStatus
from shared.orders.moves import ANNOUNCED, EVENT_TYPES, Move, Moved, move_event
from shared.orders.records import OrderRecord
from shared.orders.redis.dead_letters import RedisOrderBooks
from shared.orders.redis.moves import RedisMoves
from shared.redis.client import Redis
from shared.redis.lease import Lease
from tests.harness.decisions import record_of
from tests.harness.examples import TRACE, an_order, placed
from tests.harness.moving import WAY, ended
from tests.harness.routing import event_of as event_in
from tests.harness.shop import SECONDS, Shop
from tests.harness.stores import as_service, store_in_process

ORDER = an_order("a", cable=3)
Step = Callable[[], Awaitable[object]]


class Killed(Exception):
    """Raised in the place of a step by which its process is dead."""


@dataclass(slots=True)
class World:
    """One order, whoever does something about it, and what was published."""

    redis: Any
    shop: Shop = field(init=False)
    published: list[Event[Any]] = field(default_factory=list)
    said: dict[OrderStatus, int] = field(default_factory=dict)
    """How often a client was told that its own request made the move."""
    steps_left: int | None = None
    """Until its gateway is killed."""

    def __post_init__(self) -> None:
        self.shop = Shop(self.redis)

    async def begin(self, start: str) -> None:
        """The order as it stands when the two begin."""
        await self.redis.flushall()
        self.published.clear()
        self.said.clear()
        await self.redis.set(keyspace.inventory("cable"), 10)
        await self.redis.hset(keyspace.SUPPLIED, "cable", 10)
        await self.shop.accept(ORDER)
        if start == "in the outbox":
            await self.redis.zadd(keyspace.OUTBOX, {"a": 1})
        elif start in ("retrying", "dead"):
            await self.fail(is_final=start == "dead")
        elif start != "accepted":
            await self.decide()
            way = WAY[: WAY.index(OrderStatus(start)) + 1] if start in WAY else ()
            if way:
                await ended(self.redis, "a", *way)
            self.published += [self._moved(await record_of(self.redis, "a"), to) for to in way]

    # --- what can happen ---------------------------------------------------------------------------------

    def steps(self, what: str) -> Sequence[Step]:
        """The steps of one actor."""
        if what in EVENT_TYPES:
            return self._move(OrderStatus(what))
        steps: Mapping[str, Sequence[Step]] = {
            "decide": (self.decide,),
            "fail": (self.fail,),
            "redrive": (lambda: self.books.note(()), self.decide),
            "drop": (self.drop,),
            "republish": (self.republish, self.decide),
            "announce": (self.announce,),
        }
        return steps[what]

    def _move(self, to: OrderStatus) -> Sequence[Step]:
        seen: list[OrderRecord] = []

        async def read() -> None:
            seen.append(await record_of(self.redis, "a"))

        async def write() -> None:
            answer = await self.moves.move(seen[0], Move(order_id="a", to=to, by="olga"))
            if isinstance(answer, Moved) and answer.is_new:
                self.said[to] = self.said.get(to, 0) + 1

        return (read, write)

    @property
    def moves(self) -> RedisMoves:
        return RedisMoves(as_service(self.redis, "api_gateway"), timeout_seconds=SECONDS)

    @property
    def books(self) -> RedisOrderBooks:
        return RedisOrderBooks(as_service(self.redis, "dashboard"), timeout_seconds=SECONDS)

    async def decide(self) -> None:
        """The processor has the message."""
        (decision,) = await self.shop.decisions.decide([placed(ORDER)])
        self._announce(decision)

    async def drop(self) -> None:
        """The operator ends a dead letter."""
        (decision,) = await self.books.drop([placed(ORDER)])
        self._announce(decision)

    async def fail(self, *, is_final: bool = False) -> None:
        """The processor could not decide, and notes that."""
        history = History(attempts=1, reason="broken_stock", last_failed_at=1)
        if is_final:
            await self.shop.decisions.buried(placed(ORDER), Bury(history=history))
        else:
            await self.shop.decisions.waits(
                placed(ORDER), Wait(tier_seconds=5, expiration_seconds=5, history=history)
            )

    async def republish(self) -> None:
        """``orderctl verify --republish`` has found it where it stands."""

        async def counted() -> int | None:
            return None

        found = {"a": (await record_of(self.redis, "a")).status}
        await Republisher(self.redis, timeout_seconds=SECONDS, dead_letters=counted).republish(found)

    async def announce(self) -> None:
        """A gateway publishes what there is."""
        lease = Lease(as_service(self.redis, "api_gateway"), keyspace.MOVES_LEASE, timeout_seconds=SECONDS)
        await self.redis.delete(keyspace.MOVES_LEASE)
        await AnnouncedMoves(_Mortal(self.moves, self), self.shop.orders, self, lease).announce_all()

    async def publish(self, message: OutgoingMessage) -> None:
        """See Publisher."""
        self.step()
        self.published.append(event_in(message.body))
        self.step()

    def step(self) -> None:
        """One place at which a gateway can be killed."""
        if self.steps_left is not None:
            if not self.steps_left:
                raise Killed
            self.steps_left -= 1

    def _announce(self, decision: Decision) -> None:
        if isinstance(decision, Created | Rejected):
            self.published.append(event_of(ORDER, decision, TRACE))

    def _moved(self, record: OrderRecord, to: OrderStatus) -> Event[Any]:
        event = move_event(record, to)
        assert event is not None
        return event

    # --- what must be true afterwards --------------------------------------------------------------------

    async def settle(self) -> None:
        """The message comes once more, all is announced, and customers are told of what they hear of."""
        await self.decide()
        await self.announce()
        await self.redis.delete(keyspace.OUTBOX)
        for event in self.published:
            if isinstance(event.data, TOLD):
                attempt = Attempt(notification=notification_of(event), owner=event.id, channel="log")
                (claim,) = await self.shop.notifications.claim([attempt])
                if isinstance(claim, Claimed):
                    await self.shop.notifications.mark_sent([attempt])

    async def faults(self) -> list[str]:
        """What is wrong with it now."""
        record = await record_of(self.redis, "a")
        taken = [step.step for step in record.timeline if step.step in (*OUTCOMES, *EVENT_TYPES)]
        verdict = (await self.shop.verify()).verdict
        found = [f"{kind}: {verdict.why[who]}" for kind, each in verdict.faults().items() for who in each]
        found += [f"by hand: {sku}" for sku in verdict.changed_by_hand]
        if len(taken) != len(set(taken)) or OrderStatus.CANCELLED in taken[:-1]:
            found.append(f"it took {taken}")
        if {event.id for event in self.published} != {f"a:{ANNOUNCED[OrderStatus(step)]}" for step in taken}:
            found.append(f"it took {taken}, and announced are {[event.id for event in self.published]}")
        if any(times > 1 or to not in taken for to, times in self.said.items()):
            found.append(f"clients were told {self.said}, it took {taken}")
        return found


@dataclass(frozen=True, slots=True)
class _Mortal:
    """The store of moves, around each use of which a gateway may be killed."""

    moves: RedisMoves
    world: World

    async def move(self, record: OrderRecord, move: Move) -> Any:
        return await self.moves.move(record, move)

    async def unannounced(self, limit: int) -> Any:
        self.world.step()
        found = await self.moves.unannounced(limit)
        self.world.step()
        return found

    async def announced(self, moves: Sequence[tuple[str, OrderStatus]]) -> None:
        self.world.step()
        await self.moves.announced(moves)
        self.world.step()


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    """The store in this process; the scripts themselves are held to both by other suites."""
    async with store_in_process() as client:
        yield client


def interleaved(first: Sequence[Step], second: Sequence[Step]) -> Iterator[list[Step]]:
    """Every order in which the steps of both can come, each one's own in its order."""
    if not first or not second:
        yield [*first, *second]
        return
    for rest in interleaved(first[1:], second):
        yield [first[0], *rest]
    for rest in interleaved(first, second[1:]):
        yield [second[0], *rest]


BEFORE: Mapping[str, Sequence[str]] = {
    "accepted": ("cancelled", "processing", "decide", "fail"),
    "in the outbox": ("cancelled", "decide", "republish"),
    "retrying": ("cancelled", "decide", "fail", "republish"),
    "dead": ("cancelled", "redrive", "drop", "republish"),
    "created": ("cancelled", "processing", "shipped", "decide", "republish", "announce"),
    "processing": ("cancelled", "processing", "shipped", "delivered", "decide"),
    "shipped": ("cancelled", "delivered", "republish", "decide"),
}
"""By where the order stands, what can happen to it there."""


@pytest.mark.parametrize("start", BEFORE)
async def test_whatever_two_do_at_once_one_story_comes_of_it(redis: Any, start: str) -> None:
    """One path through the table, stock that adds up, every step announced, one client told that it did."""
    world = World(redis)
    for first, second in combinations_with_replacement(BEFORE[start], 2):
        await world.begin(start)
        orders = len(list(interleaved(world.steps(first), world.steps(second))))
        for chosen in range(orders):
            await world.begin(start)
            for step in list(interleaved(world.steps(first), world.steps(second)))[chosen]:
                await step()
            await world.settle()
            assert await world.faults() == [], f"{first} and {second} at an order {start}, in order {chosen}"


@pytest.mark.parametrize("way", [(OrderStatus.CANCELLED,), WAY], ids=["cancelled", "delivered"])
async def test_a_gateway_that_is_killed_between_any_two_steps_leaves_no_move_untold(
    redis: Any, way: Sequence[OrderStatus]
) -> None:
    """Another one announces it, at worst once more as the same event."""
    world = World(redis)
    for steps in range(100):
        await world.begin("created")
        for to in way:
            for step in world.steps(to):
                await step()
        world.steps_left = steps
        try:
            await world.announce()
        except (Killed, BrokerUnavailable):
            was_killed = True
        else:
            was_killed = False
        world.steps_left = None
        await world.settle()
        assert await world.faults() == [], f"killed after {steps} steps"
        if not was_killed:
            assert steps == 4 + 2 * len(way)
            return
    raise AssertionError("it makes more steps than that")
