"""Reading a product at the gateway: what the catalogue answered before, with the stock of now.

The catalogue's answers name its last write as far as it knows, and it knows of every write of 0.75 s ago.
While that stays the same, all that is remembered here is what the catalogue would answer, so that a few
questions a second keep any number of products. They add a fifth of a second to the age of what clients see,
which stays below the second that is promised. A write by this gateway ends what it remembers at once.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from aiohttp import hdrs, web

from shared.errors import StoreUnavailable
from shared.http.answers import WholeResponse
from shared.http.client import ServiceAnswer
from shared.http.forwarding import Forwarding, handed_back
from shared.http.routes import Handler
from shared.products.answers import HIT, VERSION, X_CACHE, Stock, with_stock, without_stock

KNOWN_FOR_SECONDS: Final = 0.2
"""After a question; after half of that the next one is asked."""
REMEMBERED_SECONDS: Final = 10.0
"""In all, for what was changed by hand, without a version."""
MOST_REMEMBERED: Final = 1_000


class StockNow(Protocol):
    """What is available. Raises StoreUnavailable."""

    async def of_one(self, sku: str) -> int | None:
        """Pieces of a SKU, None where none was ever set."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    """A product's answer without its stock, and until when it may be given at all."""

    product: bytes
    headers: Mapping[str, str]
    until: float


class ProductReads:
    """Puts a memory before the reads of single products, among the handlers that hand requests on."""

    def __init__(
        self, forwarding: Forwarding, stock: StockNow, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._forwarding = forwarding
        self._stock = stock
        self._clock = clock
        self._remembered: dict[str, _Remembered] = {}
        self._version = ""
        self._known_until = 0.0
        self._asking = 0

    def handler(self, name: str) -> Handler:
        """The handler of a route about products, by its name."""
        if name == "getProduct":
            return self.show
        is_read = name in {"listProducts", "searchProducts"}
        return self._forwarding.forward if is_read else self.write

    async def write(self, request: web.Request) -> web.StreamResponse:
        """Forgets everything once it is done, whatever became of it."""
        try:
            return await self._forwarding.forward(request)
        finally:
            self._remembered = {}

    async def show(self, request: web.Request) -> web.StreamResponse:
        """``GET /products/{sku}``. What has a condition is for the catalogue to judge."""
        if hdrs.IF_NONE_MATCH in request.headers:
            return await self._forwarding.forward(request)
        sku, now = request.match_info["sku"], self._clock()
        known = self._remembered.get(sku)
        if known is None or now >= known.until or not self._is_known(now):
            return await self._asked(request, sku, now)
        stock: Stock
        try:
            stock = await self._stock.of_one(sku)
        except StoreUnavailable as error:
            stock = error
        return WholeResponse(body=with_stock(known.product, stock), headers=known.headers)

    def _is_known(self, now: float) -> bool:
        """Whether what is remembered holds. One request asks again before that is over."""
        left = self._known_until - now
        return left > (0 if self._asking else KNOWN_FOR_SECONDS / 2)

    async def _asked(self, request: web.Request, sku: str, began: float) -> web.StreamResponse:
        remembered = self._remembered
        self._asking += 1
        try:
            answer = await self._forwarding.ask(request)
        finally:
            self._asking -= 1
        if answer.status == 200 and VERSION in answer.headers and remembered is self._remembered:
            self._remember(sku, answer, began)
        return handed_back(answer)

    def _remember(self, sku: str, answer: ServiceAnswer, began: float) -> None:
        """It was true when it was asked for, and so is all that is of the same version."""
        product, version = without_stock(answer.body), answer.headers[VERSION]
        if version != self._version or len(self._remembered) >= MOST_REMEMBERED:
            self._remembered, self._version, self._known_until = {}, version, 0.0
        self._known_until = max(self._known_until, began + KNOWN_FOR_SECONDS)
        if product is not None:
            headers = {**handed_back(answer).headers, X_CACHE: HIT}
            self._remembered[sku] = _Remembered(product, headers, began + REMEMBERED_SECONDS)
