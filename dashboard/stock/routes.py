"""The page about stock: what is available and reserved of each SKU, and what its product costs."""

from typing import Final

from aiohttp import web

from dashboard.stock.store import StockShelf
from dashboard.visiting import Visits
from shared.http.listing import AFTER_SKU, ListParameter, cursor_text, maybe, read_parameters
from shared.http.problems import INVALID_PARAMETER
from shared.http.routes import Parameter, Route
from shared.http.validation import IDENTIFIER_RULE
from shared.messages import is_identifier

SHOWN: Final = 100
_TEXT: Final = {"type": "string"}


def _sku(text: str) -> str:
    if not is_identifier(text):
        raise ValueError(IDENTIFIER_RULE)
    return text


_SKU: Final = maybe(ListParameter(parse=_sku))


class StockPages:
    """The route."""

    def __init__(self, visits: Visits, shelf: StockShelf) -> None:
        self._visits = visits
        self._shelf = shelf

    def table(self) -> tuple[Route, ...]:
        """What is served, and described."""
        return (
            self._visits.route(
                "/stock",
                self.list,
                name="stockPage",
                summary="What is available and reserved of each SKU, and what it costs",
                parameters=(
                    Parameter(name="sku", description="This SKU alone.", schema=_TEXT),
                    Parameter(name="cursor", description="Where the page before ended.", schema=_TEXT),
                ),
                problems=(INVALID_PARAMETER,),
            ),
        )

    async def list(self, request: web.Request) -> web.StreamResponse:
        """``GET /stock``"""
        asked = read_parameters(request, sku=_SKU, cursor=AFTER_SKU)
        sku = asked["sku"]
        if sku is None:
            lines, next_after = await self._shelf.page(asked["cursor"], SHOWN)
        else:
            lines, next_after = await self._shelf.one(sku), None
        return self._visits.page(
            "stock.html",
            lines=lines,
            sku=sku,
            is_begun=bool(asked["cursor"]),
            next_cursor=None if next_after is None else cursor_text(next_after),
            gone=sum(line.available is None or line.available <= 0 for line in lines),
        )
