"""Requests between cells that come again, later and out of turn, as from a process that stood still."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from shared.errors import StoreUnavailable
from tests.simulator.network import Network
from tests.simulator.weather import Weather

LATEST_SECONDS: Final = 6.0

Result = TypeVar("Result")


class Repeats:
    """Sends requests, and copies of some of them when nobody waits for an answer any more."""

    def __init__(self, network: Network, weather: Weather, dice: random.Random) -> None:
        self._network = network
        self._weather = weather
        self._dice = dice

    async def send(self, request: Callable[[], Awaitable[Result]]) -> Result:
        """The answer. Raises StoreUnavailable."""
        for _ in range(self._weather.copies() - 1):
            self._network.under_way += 1
            self._network.spawn(self._send_late(request))
        return await request()

    async def _send_late(self, request: Callable[[], Awaitable[object]]) -> None:
        try:
            await asyncio.sleep(self._dice.random() * LATEST_SECONDS)
            await request()
        except StoreUnavailable:
            return
        finally:
            self._network.under_way -= 1
