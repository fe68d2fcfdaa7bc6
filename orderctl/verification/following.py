"""Waiting for what follows the log of steps, before it is compared with the records."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from orderctl.verification.verification import Patience
from shared.orders.redis.log import LogPosition, OrderLog, place_of


async def wait_for_follower(
    log: OrderLog, position: Callable[[], Awaitable[LogPosition]], patience: Patience
) -> None:
    """Until it has read what is in the log now. Raises TimeoutError where it does not move, StoreUnavailable
    and DatabaseUnavailable.
    """
    end, before = place_of((await log.end()).log_id), ""
    began = moved_at = time.monotonic()
    while True:
        read = await position()
        if read.is_known and place_of(read.log_id) >= end:
            return
        now = time.monotonic()
        if read.log_id != before:
            before, moved_at = read.log_id, now
        if now - moved_at >= patience.quiet or now - began >= patience.most:
            where = f"has read the log up to {read.log_id}" if read.is_known else "is yet to read the log"
            raise TimeoutError(f"it {where}, and does not go on")
        await asyncio.sleep(patience.pause)
