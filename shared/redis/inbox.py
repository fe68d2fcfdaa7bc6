"""Effects in Redis that happen exactly once: they are written together with the ids of their events.

A handler does not write itself. It says what is to be written, and one script writes all of that with a note
for each event, or nothing where an event has its note already. Redis does not roll back: a write that it
refuses leaves those before it, and the notes, so that none of them is made again.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import ResponseError

from shared.errors import PermanentError, RefusedWrite, StoreUnavailable
from shared.messages import Event
from shared.redis.client import Redis, outage, round_trip, store_deadline
from shared.redis.scripts import Script

MOST_TRIES: Final = 10
"""Each ends because another replica dealt with one of the events meanwhile, so that fewer are left."""
MOST_ARGUMENTS: Final = 5_000
"""Of one write: Lua hands no more than 8,000 values to a call."""
_SENT: Final = (str, int, float, bytes)
ABOUT_THE_WRITE: Final = ("ERR", "WRONGTYPE")
"""What errors begin with that are the handler's; others, such as a full memory, are the store's."""


@dataclass(frozen=True, slots=True)
class RedisWrite:
    """One command on one key."""

    command: str
    key: str
    arguments: Sequence[str | int]


class RedisTransaction:
    """What a handler wants written. All of its keys begin with the service's name and a colon."""

    def __init__(self, service: str) -> None:
        self._service = service
        self.writes: list[RedisWrite] = []

    def write(self, command: str, name: str, *arguments: str | int) -> None:
        """Adds ``command SERVICE:name arguments…``, such as ``write("HINCRBY", "points", customer, 5)``.

        Raises RefusedWrite for arguments that could not be sent: as the store's refusal it would be taken for
        an outage, and be waited out.
        """
        if len(arguments) > MOST_ARGUMENTS:
            raise RefusedWrite(
                f"{len(arguments):,} arguments of {command}: a script takes {MOST_ARGUMENTS:,}"
            )
        if wrong := {type(each).__name__ for each in arguments if type(each) not in _SENT}:
            raise RefusedWrite(
                f"an argument of {command} is a {', '.join(sorted(wrong))}: text or a number is sent"
            )
        self.writes.append(RedisWrite(command, f"{self._service}:{name}", arguments))


Effects = Callable[[Sequence[Event[Any]], RedisTransaction], Awaitable[None]]


class RedisInbox:
    """The events that one service has dealt with, kept for ``retention_seconds``."""

    def __init__(
        self, redis: Redis, service: str, *, retention_seconds: float, timeout_seconds: float
    ) -> None:
        self._redis = redis
        self._service = service
        self._keep_milliseconds = round(retention_seconds * 1000)
        self._timeout_seconds = timeout_seconds
        self._script = Script.load("shared.redis", "inbox")

    async def once(self, events: Sequence[Event[Any]], effects: Effects) -> None:
        """Lets ``effects`` say what follows from those events that are new, and writes that.

        Raises StoreUnavailable, after which the outcome is unknown and asking again is safe; RefusedWrite;
        and PermanentError where a later write was refused, which a person has to look at.
        """
        for _ in range(MOST_TRIES):
            new = await self._new(events)
            if not new:
                return
            transaction = RedisTransaction(self._service)
            await effects(new, transaction)
            if await self._commit(new, transaction.writes):
                return
        raise StoreUnavailable(f"other replicas dealt with these events {MOST_TRIES} times meanwhile")

    async def _new(self, events: Sequence[Event[Any]]) -> Sequence[Event[Any]]:
        once = list({event.id: event for event in events}.values())
        async with store_deadline(self._timeout_seconds):
            known = await round_trip(self._redis, [("EXISTS", self._note(event)) for event in once])
            for each in known:
                if isinstance(each, Exception):
                    raise each
        return [event for event, is_known in zip(once, known, strict=True) if not is_known]

    async def _commit(self, events: Sequence[Event[Any]], writes: Sequence[RedisWrite]) -> bool:
        keys = [*(self._note(event) for event in events), *(write.key for write in writes)]
        words = [word for each in writes for word in (len(each.arguments) + 1, each.command, *each.arguments)]
        async with store_deadline(self._timeout_seconds):
            answer = await self._script.run(self._redis, keys, [len(events), self._keep_milliseconds, *words])
        match answer:
            case ["refused", 0, why] if why.startswith(ABOUT_THE_WRITE):
                raise RefusedWrite(why)
            case ["refused", 0, why]:
                raise outage(ResponseError(why))
            case ["refused", made, why]:
                raise PermanentError(f"{made} of {len(writes)} writes were made, the next was refused: {why}")
            case [told]:
                return bool(told == "done")
        raise RuntimeError(f"the inbox answered {answer!r}")

    def _note(self, event: Event[Any]) -> str:
        return f"{self._service}:inbox:{event.id}"
