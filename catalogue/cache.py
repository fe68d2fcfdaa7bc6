"""The cache in a Redis of its own, of which anything may be gone at any time."""

import secrets
from collections.abc import Collection
from typing import Final

from catalogue.ports import Entry, Look
from shared.errors import StoreUnavailable
from shared.redis.client import Redis, store_deadline
from shared.redis.coalescing import CoalescedScript
from shared.redis.scripts import Script, ScriptCall

KEPT_SECONDS: Final = 86_400.0
"""How long an answer that is fresh no more is kept, for when the database is away."""
READER_SECONDS: Final = 2.0
"""A reader that has died is waited for no longer."""
LATE_SHARE: Final = 0.1
"""Of the time for which an answer is fresh: in the last part it is read anew while it is still given."""
LISTS: Final = "lists"


class RedisCache:
    """In Redis. An answer and its generation are two keys; who reads it is a third, for a moment."""

    def __init__(
        self, redis: Redis, *, timeout_seconds: float, product_seconds: float, list_seconds: float
    ) -> None:
        self._redis = redis
        self._timeout_seconds = timeout_seconds
        self._product_seconds = product_seconds
        self._list_seconds = list_seconds
        self._look = CoalescedScript(Script.load("catalogue", "look"), redis, timeout_seconds=timeout_seconds)
        self._fill = Script.load("catalogue", "fill")
        self._invalidate = Script.load("catalogue", "invalidate")

    async def look(self, entry: Entry, *, may_read: bool) -> Look:
        token = secrets.token_hex(8) if may_read else ""
        reader = _milliseconds(READER_SECONDS) if may_read else 0
        late = _milliseconds(LATE_SHARE * self._fresh_seconds(entry))
        call = ScriptCall(_keys(entry), [token, reader, _milliseconds(2 * KEPT_SECONDS), late])
        match await self._look.run(call):
            case ["hit", body]:
                return Look(body=body, holds=True)
            case ["late", body]:
                return Look(body=body, holds=True, is_late=True)
            case ["read", body, generation]:
                return Look(body=body or None, token=token, generation=generation)
            case ["wait", body]:
                return Look(body=body or None)
            case answer:
                raise StoreUnavailable(f"the cache gave an answer that its script does not have: {answer!r}")

    async def fill(self, entry: Entry, look: Look, body: str) -> None:
        fresh = self._fresh_seconds(entry)
        times = [_milliseconds(fresh), _milliseconds(fresh + KEPT_SECONDS)]
        async with store_deadline(self._timeout_seconds):
            await self._fill.run(self._redis, _keys(entry), [look.token or "", look.generation, body, *times])

    def _fresh_seconds(self, entry: Entry) -> float:
        return self._list_seconds if entry.sku is None else self._product_seconds

    async def invalidate(self, skus: Collection[str]) -> None:
        keys = [_generation(None), *map(_generation, skus)]
        async with store_deadline(self._timeout_seconds):
            await self._invalidate.run(
                self._redis, keys, [secrets.token_hex(8), _milliseconds(2 * KEPT_SECONDS)]
            )


def _keys(entry: Entry) -> list[str]:
    return [f"answer:{entry.key}", f"reading:{entry.key}", _generation(entry.sku)]


def _generation(sku: str | None) -> str:
    return f"generation:{LISTS}" if sku is None else f"generation:product:{sku}"


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1_000)
