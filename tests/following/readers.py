"""Clients that follow orders and clients that watch everything; each notes what it missed or saw twice."""

import asyncio
import contextlib
import random
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout

NO_DEADLINE: Final = ClientTimeout(total=None, sock_connect=5.0, sock_read=60.0)
_STEP: Final = re.compile(rb'id: (\d+)-(\d+)\ndata: \{"order_id":"([^"]+)","n":(\d+),')


@dataclass(slots=True)
class Findings:
    """What all readers saw."""

    orders: int = 0
    steps: int = 0
    interruptions: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Follower:
    """Places orders one after the other and follows each, over as many connections as it takes."""

    def __init__(self, session: ClientSession, name: str, found: Findings, *, slow: bool) -> None:
        self._session = session
        self._name = name
        self._found = found
        self._slow = slow
        self._dice = random.Random(name)

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop, after which the last order is still followed to its end."""
        await asyncio.sleep(self._dice.uniform(0.0, 10.0))
        number = 0
        while not stop.is_set():
            number += 1
            await self._follow(f"{self._name}-{number}")

    async def _follow(self, order_id: str) -> None:
        await self._place(order_id)
        seen: list[int] = []
        while not await self._read(order_id, seen):
            await self._pause()
        if seen != list(range(1, len(seen) + 1)):
            self._found.faults.append(f"{order_id}: saw the steps {seen}")
        written = len(await self._timeline(order_id))
        if len(seen) != written:
            self._found.faults.append(f"{order_id}: saw {len(seen)} of {written} steps")
        self._found.orders += 1
        self._found.steps += len(seen)

    async def _place(self, order_id: str) -> None:
        body = {"id": order_id, "sku": "cable", "qty": 1}
        while True:
            try:
                async with self._session.post("/orders", json=body) as answer:
                    if answer.status in {202, 409}:
                        return
            except (ClientError, TimeoutError) as error:
                self._found.interruptions[type(error).__name__] += 1
            await self._pause()

    async def _read(self, order_id: str, seen: list[int]) -> bool:
        """Reads until the connection ends; whether the order has come to what the gateway calls its end."""
        headers = {"Last-Event-ID": str(seen[-1])} if seen else {}
        path = f"/orders/{order_id}/events"
        try:
            async with self._session.get(path, headers=headers, timeout=NO_DEADLINE) as answer:
                if answer.status == 204:
                    return True
                if answer.status != 200:
                    self._found.interruptions[str(answer.status)] += 1
                    return False
                async for name, id_, _ in blocks(answer.content):
                    if name == "end" or (id_ and self._has_ended(seen, int(id_))):
                        return True
                    if self._slow:
                        await asyncio.sleep(self._dice.uniform(0.0, 3.0))
        except (ClientError, TimeoutError) as error:
            self._found.interruptions[type(error).__name__] += 1
        return False

    async def _pause(self) -> None:
        await asyncio.sleep(self._dice.uniform(0.2, 1.0))

    @staticmethod
    def _has_ended(seen: list[int], n: int) -> bool:
        """Notes a step. An order that is created stays so here: its customer was told, and that was all."""
        seen.append(n)
        return n == 3

    async def _timeline(self, order_id: str) -> list[Any]:
        while True:
            try:
                async with self._session.get(f"/orders/{order_id}") as answer:
                    if answer.status == 200:
                        found: list[Any] = orjson.loads(await answer.read())["timeline"]
                        return found
            except (ClientError, TimeoutError) as error:
                self._found.interruptions[type(error).__name__] += 1
            await self._pause()


class Watcher:
    """Watches every step of every order. A slow one stops reading until it is cut off, and comes back."""

    def __init__(self, session: ClientSession, found: Findings, *, slow: bool) -> None:
        self._session = session
        self._found = found
        self._slow = slow
        self._last_id = ""
        self._last_place = (0, 0)
        self._last_n: dict[bytes, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop."""
        while not stop.is_set():
            try:
                await self._read(stop)
            except (ClientError, TimeoutError) as error:
                self._found.interruptions[f"watcher: {type(error).__name__}"] += 1
            await stopped(stop, 0.2)

    async def _read(self, stop: asyncio.Event) -> None:
        headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
        async with self._session.get("/events", headers=headers, timeout=NO_DEADLINE) as answer:
            rest, read = b"", 0
            async for chunk in answer.content.iter_any():
                whole, found, rest = (rest + chunk).rpartition(b"\n\n")
                self._note(whole + found)
                read += len(chunk)
                if stop.is_set():
                    return
                if self._slow and read > 200_000:
                    await asyncio.sleep(30.0)
                    read = 0

    def _note(self, text: bytes) -> None:
        if b"event: reset" in text:
            self._found.faults.append("a watcher was told to begin anew")
        for milliseconds, number, order_id, n in _STEP.findall(text):
            place = int(milliseconds), int(number)
            if place <= self._last_place or int(n) != self._last_n.get(order_id, int(n) - 1) + 1:
                self._found.faults.append(f"a watcher saw step {n} of {order_id.decode()} out of turn")
            self._last_place, self._last_id = place, f"{place[0]}-{place[1]}"
            self._last_n[order_id] = int(n)


async def idle(session: ClientSession, stop: asyncio.Event, found: Findings) -> None:
    """What a page does: it hears that there is news."""
    while not stop.is_set():
        try:
            async with session.get("/events?steps=no", timeout=NO_DEADLINE) as answer:
                async for _ in answer.content.iter_any():
                    if stop.is_set():
                        return
        except (ClientError, TimeoutError) as error:
            found.interruptions[f"page: {type(error).__name__}"] += 1
            await stopped(stop, 1.0)


async def stopped(stop: asyncio.Event, seconds: float) -> None:
    """A client's pause before it comes back, which ends with the trial."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def blocks(content: Any) -> AsyncIterator[tuple[str, str, str]]:
    """Name, id and data of each event."""
    while block := (await content.readuntil(b"\n\n")).decode():
        told = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in told:
            yield told.get("event", ""), told.get("id", ""), told["data"]
