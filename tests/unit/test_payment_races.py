"""A customer who cancels while two processors pay, in every order of their steps, with deaths between.

A step is one use of the store or of the provider. Afterwards whatever is left to do is done, and the money is
where the order says.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from order_processor.payments import Payments
from orderctl.money import Paying, payment_faults
from shared import keyspace
from shared.orders.model import PAYMENT_STEPS, PAYMENTS, OrderStatus, Payment
from shared.orders.moves import Move, Moved
from shared.orders.redis.moves import RedisMoves
from shared.orders.redis.payments import RedisPayments
from shared.redis.client import Redis
from tests.harness.decisions import is_logged, record_of
from tests.harness.examples import an_order
from tests.harness.moving import moved
from tests.harness.paying import ToldProvider, all_due, created_order, payments_of, settled
from tests.harness.shop import SECONDS
from tests.harness.stores import store_in_process

ORDER = an_order("a", cable=3)
Result = TypeVar("Result")
Actors = Mapping[str, Callable[[], Awaitable[object]]]
STORIES: dict[str, tuple[list[str], bool]] = {
    "is taken": ([], False),
    "is declined": ([], True),
    "is taken and not answered": (["unanswered"], False),
    "is lost": (["lost"], False),
    "is lost, and its repetition not answered": (["lost", "unanswered"], False),
}
"""What becomes of the requests to the provider, and whether it declines."""


@dataclass
class Turns:
    """Lets actors take one step at a time, in an order that is given."""

    waiting: dict[str, asyncio.Event] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def taken(self, name: str, step: Callable[[], Awaitable[Result]]) -> Result:
        """One step of an actor, once it is its turn."""
        turn = self.waiting[name] = asyncio.Event()
        self.changed.set()
        await turn.wait()
        return await step()

    async def play(self, actors: Actors, order: Sequence[str], *, to_the_end: bool) -> list[set[str]]:
        """Plays this order of steps, then what is left to the end, or kills who is left; who could have had
        each step after the given ones.
        """
        choices: list[set[str]] = []
        tasks = {name: asyncio.ensure_future(act()) for name, act in actors.items()}
        try:
            for name in itertools.chain(order, itertools.repeat("")):
                while any(not task.done() and each not in self.waiting for each, task in tasks.items()):
                    self.changed.clear()
                    ended = asyncio.ensure_future(self.changed.wait())
                    busy = [task for each, task in tasks.items() if each not in self.waiting]
                    await asyncio.wait([ended, *busy], return_when=asyncio.FIRST_COMPLETED)
                    ended.cancel()
                if not name:
                    choices.append(set(self.waiting))
                    if not (to_the_end and self.waiting):
                        break
                self.waiting.pop(name or min(self.waiting)).set()
            for task in tasks.values():
                if task.done():
                    task.result()
            return choices
        finally:
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)


@dataclass
class _InTurn:
    """Any port, each use of which is a step of an actor."""

    port: Any
    name: str
    turns: Turns

    def __getattr__(self, what: str) -> Any:
        method = getattr(self.port, what)

        async def step(*given: Any, **named: Any) -> Any:
            return await self.turns.taken(self.name, lambda: method(*given, **named))

        return step


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    """The store in this process; the scripts themselves are held to both by other suites."""
    async with store_in_process() as client:
        yield client


class World:
    """One order that is to be paid for, and whoever does something about that."""

    def __init__(self, redis: Any, story: str) -> None:
        self.redis = redis
        script, declines = STORIES[story]
        self.provider = ToldProvider(script=list(script), declines=declines)

    async def begin(self) -> None:
        """It is created, and its payment pending."""
        await self.redis.flushall()
        await created_order(self.redis, ORDER)
        await all_due(self.redis)

    def actors(self, names: Sequence[str], turns: Turns) -> dict[str, Callable[[], Awaitable[object]]]:
        """By name: the customer cancels, others are processors."""

        def processor(name: str) -> Callable[[], Awaitable[object]]:
            def in_turn(port: Any) -> Any:
                return _InTurn(port, name, turns)

            payments = Payments(
                in_turn(RedisPayments(self.redis, timeout_seconds=SECONDS)),
                in_turn(RedisMoves(self.redis, timeout_seconds=SECONDS)),
                in_turn(self.provider),
                lease=None,  # type: ignore[arg-type]  # it was lost by one of them
                timeout_seconds=60.0,
            )
            return payments.settle

        async def customer() -> None:
            record = await turns.taken("customer", lambda: record_of(self.redis, "a"))
            move = Move(order_id="a", to=OrderStatus.CANCELLED, by="ann")
            moves = RedisMoves(self.redis, timeout_seconds=SECONDS)
            await turns.taken("customer", lambda: moves.move(record, move))

        return {name: customer if name == "customer" else processor(name) for name in names}

    async def faults(self) -> list[str]:
        """What is wrong once nothing is left to be done."""
        await settled(self.redis, payments_of(self.redis, self.provider))
        record = await record_of(self.redis, "a")
        assert record.payment is not None
        paying = Paying(
            payment=record.payment,
            taken=self.provider.taken.get("a", 0),
            returned=self.provider.returned.get("a", 0),
            is_due=False,
        )
        found = list(payment_faults(record.status, paying))
        stood = [PAYMENT_STEPS[step.step] for step in record.timeline if step.step in PAYMENT_STEPS]
        if any(then not in PAYMENTS[before] for before, then in itertools.pairwise(stood)):
            found.append(f"its payment was {stood}")
        is_cancelled = record.status is OrderStatus.CANCELLED
        if await self.redis.get(keyspace.inventory("cable")) != ("10" if is_cancelled else "7"):
            found.append("stock does not add up")
        if not await is_logged(self.redis):
            found.append("a step is not in the log")
        return found


def _is_mirrored(order: Sequence[str]) -> bool:
    """Whether the second processor begins before the first one: the same with their names changed."""
    return "two" in order and "one" not in order[: order.index("two")]


async def orders_of_steps(
    world: World, names: Sequence[str], *, deaths: bool = True
) -> AsyncIterator[list[str]]:
    """Every order in which the actors' steps can come; with ``deaths`` broken off after each of them."""
    unplayed: list[list[str]] = [[]]
    while unplayed:
        order = unplayed.pop()
        await world.begin()
        turns = Turns()
        script = list(world.provider.script)
        choices = await turns.play(world.actors(names, turns), order, to_the_end=not deaths)
        yield order
        world.provider = ToldProvider(script=script, declines=world.provider.declines)
        for could in choices:
            first, *others = sorted(could) or [""]
            branches = ([*order, name] for name in (sorted(could) if deaths else others))
            unplayed += [branch for branch in branches if not _is_mirrored(branch)]
            order = [*order, first]


@pytest.mark.parametrize("names", [("one", "customer"), ("one", "two")], ids=["cancelled", "twice"])
@pytest.mark.parametrize("story", STORIES)
async def test_the_money_is_where_the_order_says(redis: Any, story: str, names: Sequence[str]) -> None:
    """Taken once for an order that goes on, and not for one that was cancelled; whoever dies meanwhile."""
    world = World(redis, story)
    played = 0
    async for order in orders_of_steps(world, names):
        assert await world.faults() == [], f"{story}, in the order {order}"
        played += 1
    assert played > 10


async def test_two_processors_and_a_customer(redis: Any) -> None:
    """An answer that comes late overwrites nothing that came after it."""
    world = World(redis, "is taken")
    async for order in orders_of_steps(world, ("one", "two", "customer"), deaths=False):
        assert await world.faults() == [], f"in the order {order}"


async def test_an_order_goes_on_once_it_is_paid_for(redis: Any) -> None:
    """Cancelled after that, it gives the money back."""
    world = World(redis, "is taken")
    await world.begin()
    await settled(redis, payments_of(redis, world.provider))
    assert await moved(redis, "a", OrderStatus.PROCESSING) == Moved(is_new=True)
    assert await moved(redis, "a", OrderStatus.CANCELLED) == Moved(is_new=True)
    assert await world.faults() == []
    assert (await record_of(redis, "a")).payment is Payment.REFUNDED
