"""A client of the gateway that keeps its own books of what it was told."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import aiohttp

from shared.orders.model import OrderStatus
from shared.prices import Cost

CLIENT_SECONDS = 10.0
RETRY_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the gateway said, and how long it took."""

    status: int
    headers: Mapping[str, str]
    body: Any
    seconds: float


@dataclass(slots=True)
class Books:
    """What was tried and what was promised."""

    attempted: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    acknowledged_at: list[float] = field(default_factory=list)
    costs: dict[str, Cost] = field(default_factory=dict)
    """What each order was promised to cost, by order, where the answer was JSON."""


class GatewayClient:
    """Speaks to one gateway."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.books = Books()

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        """One request; raises what aiohttp raises when there is no answer."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with self._session.request(method, self._url + path, **options) as response:
            text = await response.text()
            is_json = response.content_type.endswith("json")
            body = await response.json(content_type=None) if is_json else text
            return Answer(
                status=response.status, headers=response.headers, body=body, seconds=loop.time() - began
            )

    async def place(self, order: Mapping[str, Any], **headers: str) -> Answer:
        """Posts an order once."""
        self.books.attempted.add(order["id"])
        answer = await self.request("POST", "/orders", json=order, headers=headers)
        self._note(order["id"], answer)
        return answer

    async def place_until_known(
        self,
        order: Mapping[str, Any],
        timeout_seconds: float = 60.0,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Answer:
        """Asks again with the same id until the gateway answers 202 or 409, as a careful client does.

        Each time under what ``headers`` are at that moment.
        """
        async with asyncio.timeout(timeout_seconds):
            while True:
                try:
                    answer = await self.place(order, **headers)
                except (aiohttp.ClientError, TimeoutError):
                    await asyncio.sleep(RETRY_SECONDS)
                    continue
                if answer.status in (202, 409):
                    return answer
                await asyncio.sleep(min(float(answer.headers.get("Retry-After", 1)), 1.0))

    async def move_until_known(
        self, order_id: str, to: OrderStatus, headers: Mapping[str, str] = MappingProxyType({})
    ) -> bool:
        """Asks for a move until the gateway says whether it was made, as a careful client does."""
        while True:
            try:
                answer = await self.request(
                    "PATCH", f"/orders/{order_id}/status", json={"status": to.value}, headers=headers
                )
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if answer.status in (200, 404, 409):
                return answer.status == 200
            await asyncio.sleep(min(float(answer.headers.get("Retry-After", 1)), 1.0))

    async def place_many(self, orders: Sequence[Mapping[str, Any]], concurrency: int) -> list[Answer]:
        """Places every order, that many at a time."""
        turns = asyncio.Semaphore(concurrency)

        async def place(order: Mapping[str, Any]) -> Answer:
            async with turns:
                return await self.place_until_known(order)

        return list(await asyncio.gather(*(place(order) for order in orders)))

    async def set_stock(self, sku: str, available: int) -> None:
        """Puts stock in."""
        answer = await self.request("PUT", f"/inventory/{sku}", json={"available": available})
        assert answer.status == 200, answer

    async def stock(self, sku: str) -> int:
        """What is available."""
        answer = await self.request("GET", f"/inventory/{sku}")
        assert answer.status == 200, answer
        return int(answer.body["available"])

    async def status(self, order_id: str) -> str | None:
        """Where an order stands, or its trouble; None if the gateway knows none."""
        answer = await self.request("GET", f"/orders/{order_id}")
        return str(answer.body.get("trouble") or answer.body["status"]) if answer.status == 200 else None

    def _note(self, order_id: str, answer: Answer) -> None:
        known_as_ours = answer.status == 409 and answer.body.get("same_content")
        if answer.status == 202 or known_as_ours:
            self.books.acknowledged.add(order_id)
            self.books.acknowledged_at.append(asyncio.get_running_loop().time())
        if answer.status == 202 and isinstance(answer.body, dict):
            cost = Cost(currency=answer.body.get("currency"), amount_total=answer.body.get("amount_total"))
            assert self.books.costs.setdefault(order_id, cost) == cost, f"{order_id} costs another sum now"


@asynccontextmanager
async def gateway_client(url: str, connections: int = 200) -> AsyncIterator[GatewayClient]:
    """A client with connections of its own, closed after the block."""
    timeout = aiohttp.ClientTimeout(total=CLIENT_SECONDS)
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield GatewayClient(session, url)
