"""How much of its memory the store has used."""

from typing import Any

from redis.exceptions import ResponseError

from shared.redis.client import Redis, store_deadline


async def memory_used(redis: Redis, *, timeout_seconds: float) -> float:
    """The share of its bound that is used, 0 where there is none, as in embedded mode.

    Raises StoreUnavailable.
    """
    asked: Any = redis
    async with store_deadline(timeout_seconds):
        try:
            memory = await asked.info("memory")
        except ResponseError as error:
            if "unknown command" not in str(error).lower():
                raise
            return 0.0
    bound = int(memory.get("maxmemory") or 0)
    return int(memory.get("used_memory") or 0) / bound if bound else 0.0
