"""The log of steps stays in its bounds, and is never trimmed ahead of the ledger but for want of memory."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from shared import keyspace
from shared.orders.redis.trimming import LogTrimming
from shared.redis.client import Redis

STEP = {"o": "a", "n": 1, "t": "accepted", "at": 1, "reason": "", "by": ""}
NODE = 100
"""Entries that Redis keeps together, and removes together."""


def trimming_of(
    redis: Redis, registry: CollectorRegistry, *, keep_seconds: float = 3600.0, most_entries: int = 1_000_000
) -> LogTrimming:
    """With the usual bounds, or narrower ones."""
    return LogTrimming(
        redis, registry, timeout_seconds=5.0, keep_seconds=keep_seconds, most_entries=most_entries
    )


async def filled(redis: Any, entries: int, at: int | None = None) -> list[str]:
    """Writes entries of now, or of a moment in milliseconds; their ids."""
    return [
        await redis.xadd(keyspace.LOG, STEP, id="*" if at is None else f"{at}-{n + 1}")
        for n in range(entries)
    ]


@pytest.mark.parametrize("follower", keyspace.FOLLOWED)
async def test_old_entries_go_once_all_followers_have_them(redis: Any, follower: str) -> None:
    """Those of the last hour stay, and the one that the last of them has read last."""
    trimming = trimming_of(redis, CollectorRegistry())
    old = await filled(redis, 500, at=1_000)
    young = await filled(redis, 10)
    for key in keyspace.FOLLOWED.values():
        await redis.set(key, young[-1])
    await redis.set(keyspace.FOLLOWED[follower], old[249])
    assert await trimming.trim_once() == 0
    kept = [log_id for log_id, _ in await redis.xrange(keyspace.LOG)]
    assert old[249] in kept
    assert len(kept) <= 261 + NODE
    await redis.set(keyspace.FOLLOWED[follower], young[-1])
    await trimming.trim_once()
    kept = [log_id for log_id, _ in await redis.xrange(keyspace.LOG)]
    assert set(young) <= set(kept)
    assert len(kept) < 10 + NODE


async def test_no_more_entries_stay_than_are_wanted(redis: Any) -> None:
    """But for those that the ledger has not written."""
    ids = await filled(redis, 600)
    await redis.set(keyspace.LEDGER_POSITION, ids[-1])
    await trimming_of(redis, CollectorRegistry(), most_entries=200).trim_once()
    assert 200 <= await redis.xlen(keyspace.LOG) <= 200 + NODE
    await redis.set(keyspace.LEDGER_POSITION, ids[0])
    before = await redis.xlen(keyspace.LOG)
    await trimming_of(redis, CollectorRegistry(), most_entries=1).trim_once()
    assert await redis.xlen(keyspace.LOG) == before


async def test_without_a_ledger_the_log_is_bounded_all_the_same(redis: Any) -> None:
    """One that comes later reads the records."""
    await filled(redis, 400, at=1_000)
    await filled(redis, 1)
    await trimming_of(redis, CollectorRegistry()).trim_once()
    assert await redis.xlen(keyspace.LOG) <= NODE


async def test_for_want_of_memory_it_is_trimmed_ahead_and_says_so(
    redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orders come first; the ledger is healed from the records."""
    registry = CollectorRegistry()
    trimming = trimming_of(redis, registry)
    old = await filled(redis, 500, at=1_000)
    await filled(redis, 1)
    await redis.set(keyspace.LEDGER_POSITION, old[0])
    memory = {"maxmemory": 1_000, "used_memory": 700}

    async def info(_: str) -> dict[str, int]:
        return memory

    monkeypatch.setattr(redis, "info", info)
    assert await trimming.trim_once() == 0
    memory["used_memory"] = 701
    ahead = await trimming.trim_once()
    assert ahead >= 400
    assert registry.get_sample_value("orders_log_trimmed_ahead_total") == ahead
