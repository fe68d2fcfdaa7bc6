"""How many letters one address gets in an hour, and which events wait for one, for all notifiers together."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from shared import keyspace
from shared.errors import DecodeError
from shared.messages import Event, EventData, decode, encode
from shared.redis.client import BrokenKey, Redis, broken_is_absent, store_deadline
from shared.redis.scripts import Script, ScriptCall

HOUR_SECONDS: Final = 3_600.0
COLLECTED_SHARE: Final = 4
"""One in so many of the hour's letters is kept for letters about several orders."""
MOST_IN_A_LETTER: Final = 100
MOST_LISTED: Final = 1_000


class RedisLetterQuota:
    """``per_hour`` letters to one address in any hour. Addresses are kept as hashes, for hours.

    A list of events that is broken is one address's trouble: its events come back one by one.
    """

    def __init__(
        self, redis: Redis, *, per_hour: int, timeout_seconds: float, hour_seconds: float = HOUR_SECONDS
    ) -> None:
        self._redis: Any = redis
        self._per_hour = per_hour
        self._single = max(per_hour - max(per_hour // COLLECTED_SHARE, 1), 1)
        self._timeout_seconds = timeout_seconds
        self._window = round(hour_seconds * 1000)
        self._script = Script.load("notifier", "letters")

    async def take(self, address: str, letter_id: str, *, is_collected: bool) -> float:
        limit = self._per_hour if is_collected else self._single
        key = keyspace.letters(_hashed(address))
        call = ScriptCall([key], [letter_id, limit, self._per_hour, self._window])
        async with store_deadline(self._timeout_seconds):
            (answer,) = await self._script.run_many(self._redis, [call])
        return 0.0 if isinstance(answer, BrokenKey) else int(answer) / 1000

    async def collect(self, address: str, events: Mapping[str, Event[EventData]]) -> None:
        key = keyspace.collected(_hashed(address))
        async with store_deadline(self._timeout_seconds):
            with broken_is_absent():
                if await self._redis.hlen(key) < MOST_LISTED:
                    await self._redis.hset(key, mapping={name: encode(each) for name, each in events.items()})
            await self._redis.pexpire(key, 2 * self._window)

    async def collected(self, address: str) -> Sequence[Event[EventData]]:
        found: dict[str, str] = {}
        async with store_deadline(self._timeout_seconds):
            with broken_is_absent():
                _, found = await self._redis.hscan(
                    keyspace.collected(_hashed(address)), count=MOST_IN_A_LETTER
                )
        return [event for body in list(found.values())[:MOST_IN_A_LETTER] if (event := _event(body))]

    async def forget(self, address: str, event_ids: Sequence[str]) -> None:
        async with store_deadline(self._timeout_seconds):
            with broken_is_absent():
                await self._redis.hdel(keyspace.collected(_hashed(address)), *event_ids)


def _event(body: str) -> Event[EventData] | None:
    """None where the entry is not what a notifier wrote, or a later version did."""
    try:
        event = decode(body.encode())
    except DecodeError:
        return None
    return event if isinstance(event, Event) else None


def _hashed(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()[:32]
