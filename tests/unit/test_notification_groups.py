"""Notifications whose receivers can tell a repetition are marked in groups, after all of a group is out."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from notifier.domain import MOST_UNMARKED, Notification
from notifier.handlers import NotificationHandler
from notifier.ports import Attempt
from notifier.senders.addressed import AddressedSender
from notifier.store import RedisNotificationStore
from shared import keyspace
from shared.errors import PermanentError, RetryableError, SenderUnavailable
from shared.messaging.handlers import Incoming
from shared.messaging.retry import Dead, Done, History, Retry
from shared.redis.client import Redis
from tests.harness.examples import an_order, created
from tests.harness.notifying import notification_handler, notification_store
from tests.harness.stores import store_in_process

LOG_GROUP = MOST_UNMARKED["log"]


class Died(BaseException):
    """Raised where the process ends: nothing below it handles that."""


@dataclass(slots=True)
class Tape:
    """What happened, in order. ``dies_at_mark`` ends the process there, counted from one."""

    lines: list[str] = field(default_factory=list)
    dies_at_mark: int = 0
    marks: int = 0


@dataclass(slots=True)
class TapedSender:
    """A sender of one channel that writes to the tape what it sends, and fails as it is told."""

    tape: Tape
    channel: str = "log"
    faults: dict[str, Exception] = field(default_factory=dict)
    flush_fault: Exception | None = None
    unflushed: list[str] = field(default_factory=list)

    def channel_for(self, notification: Notification) -> str:
        return self.channel

    async def send(self, notification: Notification) -> None:
        if fault := self.faults.pop(notification.order_id, None):
            raise fault
        self.unflushed.append(notification.order_id)

    async def flush(self) -> None:
        if self.flush_fault is not None:
            raise self.flush_fault
        if self.unflushed:
            self.tape.lines.append(f"{self.channel} {' '.join(self.unflushed)}")
        self.unflushed.clear()


@dataclass(slots=True)
class TapedStore:
    """The real store, whose marks stand on the tape."""

    store: RedisNotificationStore
    tape: Tape

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def mark_sent(self, attempts: Sequence[Attempt]) -> None:
        self.tape.marks += 1
        if self.tape.marks == self.tape.dies_at_mark:
            raise Died
        await self.store.mark_sent(attempts)
        self.tape.lines.append(f"marked {' '.join(each.notification.order_id for each in attempts)}")


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    """An empty store."""
    async with store_in_process() as client:
        yield client


@pytest.fixture
def tape() -> Tape:
    """Nothing has happened yet."""
    return Tape()


def handling(redis: Redis, tape: Tape, sender: Any, **options: Any) -> NotificationHandler:
    """A handler over the real scripts whose marks are taped."""
    return notification_handler(TapedStore(notification_store(redis), tape), sender, **options)


def batch(order_ids: Sequence[str], email: str | None = None) -> list[Incoming]:
    """The creation of these orders."""
    return [Incoming(event=created(an_order(each, email=email)), history=History()) for each in order_ids]


def numbered(count: int) -> list[str]:
    """Ids of so many orders."""
    return [f"o{number:02}" for number in range(count)]


async def statuses(redis: Any, order_ids: Sequence[str]) -> list[tuple[str, str]]:
    """What the records say, and how many attempts they count."""
    return [
        tuple(await redis.hmget(keyspace.notifications(each), "status", "attempts")) for each in order_ids
    ]


async def test_a_group_is_out_before_it_is_marked_and_marked_before_the_next_begins(
    redis: Redis, tape: Tape
) -> None:
    """Send up to ten, flush, one round trip marks them, then the next; also with several turns at once."""
    names = numbered(2 * LOG_GROUP + 3)
    outcomes = await handling(redis, tape, TapedSender(tape), sends_at_once=3)(batch(names))
    assert list(outcomes) == [Done()] * len(names)
    expected = []
    for at in range(0, len(names), LOG_GROUP):
        group = " ".join(names[at : at + LOG_GROUP])
        expected += [f"log {group}", f"marked {group}"]
    assert tape.lines == expected


async def test_a_death_before_the_mark_repeats_one_group_at_most(redis: Redis, tape: Tape) -> None:
    """What was marked before it is not sent again, and nothing of the rest is lost."""
    names, sender = numbered(3 * LOG_GROUP), TapedSender(tape)
    tape.dies_at_mark = 2
    with pytest.raises(Died):
        await handling(redis, tape, sender)(batch(names))
    for name in names[LOG_GROUP:]:
        await redis.delete(keyspace.notification_claim(f"{name}:order.created.v1"))  # its lease is over
    assert list(await handling(redis, tape, sender)(batch(names))) == [Done()] * len(names)
    told = [name for line in tape.lines if line.startswith("log") for name in line.split()[1:]]
    assert set(told) == set(names)
    assert sorted(name for name in names if told.count(name) > 1) == names[LOG_GROUP : 2 * LOG_GROUP]


async def test_letters_of_the_same_batch_go_one_at_a_time(redis: Redis, tape: Tape) -> None:
    """Whatever the log does, each letter is marked before the next is begun."""
    sender = AddressedSender(TapedSender(tape, channel="smtp"), otherwise=TapedSender(tape))
    mixed = batch(["m1"], "ann@example.org") + batch(["l1", "l2"]) + batch(["m2"], "ann@example.org")
    assert list(await handling(redis, tape, sender)(mixed)) == [Done()] * 4
    letters = [line for line in tape.lines if "m" in line.removeprefix("marked ").removeprefix("smtp")]
    assert letters == ["smtp m1", "marked m1", "smtp m2", "marked m2"]
    assert [line for line in tape.lines if "l1" in line] == ["log l1 l2", "marked l1 l2"]


async def test_one_that_fails_leaves_the_rest_of_its_group_marked(redis: Redis, tape: Tape) -> None:
    """Each has its own outcome; a fault of one is not its neighbours'."""
    faults: dict[str, Exception] = {
        "o01": RetryableError("busy"),
        "o02": PermanentError("gone"),
        "o03": KeyError("a bug"),
    }
    outcomes = await handling(redis, tape, TapedSender(tape, faults=faults))(batch(numbered(5)))
    assert [type(outcome) for outcome in outcomes] == [Done, Retry, Dead, Retry, Done]
    assert tape.lines == ["log o00 o04", "marked o00 o04"]


async def test_an_outage_in_the_middle_marks_what_went_and_gives_the_rest_back(
    redis: Redis, tape: Tape
) -> None:
    """No attempt of those that did not go counts, and none waits for a lease."""
    names, sender = numbered(LOG_GROUP + 2), TapedSender(tape, faults={"o02": SenderUnavailable("away")})
    with pytest.raises(SenderUnavailable):
        await handling(redis, tape, sender)(batch(names))
    assert tape.lines == ["log o00 o01", "marked o00 o01"]
    assert await statuses(redis, names) == [("sent", "1")] * 2 + [("sending", "0")] * LOG_GROUP
    assert list(await handling(redis, tape, sender)(batch(names))) == [Done()] * len(names)
    assert tape.lines[2:4] == [f"log {' '.join(names[2:])}", f"marked {' '.join(names[2:])}"]


async def test_what_could_not_be_flushed_is_not_marked(redis: Redis, tape: Tape) -> None:
    """It may be out or not: it is given back, and told again."""
    names, sender = numbered(3), TapedSender(tape, flush_fault=SenderUnavailable("the disk is full"))
    with pytest.raises(SenderUnavailable):
        await handling(redis, tape, sender)(batch(names))
    assert tape.lines == []
    assert await statuses(redis, names) == [("sending", "0")] * 3


async def test_a_group_whose_turn_comes_late_is_claimed_again_together(redis: Redis, tape: Tape) -> None:
    """One that another notifier has told of since is left out."""
    store = notification_store(redis, lease_seconds=0.001)
    claimed: list[int] = []

    class LateStore(TapedStore):
        """Another tells of the second order before the turn comes."""

        async def claim(self, attempts: Sequence[Attempt]) -> Any:
            claimed.append(len(attempts))
            if len(claimed) == 2:
                await redis.set(keyspace.notification_claim("o01:order.created.v1"), "sent")
            return await store.claim(attempts)

    handler = notification_handler(LateStore(store, tape), TapedSender(tape))
    assert list(await handler(batch(numbered(3)))) == [Done()] * 3
    assert claimed == [3, 3]
    assert tape.lines == ["log o00 o02", "marked o00 o02"]


async def test_a_drain_that_is_out_of_time_begins_no_group(redis: Redis, tape: Tape) -> None:
    """The group in hand is marked, the next is left for redelivery."""
    held, entered = asyncio.Event(), asyncio.Event()

    class HeldSender(TapedSender):
        """Waits in its flush."""

        async def flush(self) -> None:
            entered.set()
            await held.wait()
            await TapedSender.flush(self)

    names = numbered(2 * LOG_GROUP)
    running = asyncio.ensure_future(handling(redis, tape, HeldSender(tape))(batch(names)))
    await entered.wait()
    running.cancel()
    held.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    group = " ".join(names[:LOG_GROUP])
    assert tape.lines == [f"log {group}", f"marked {group}"]
