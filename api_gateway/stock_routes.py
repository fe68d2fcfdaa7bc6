"""The routes about stock, for operators."""

from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from api_gateway.ports import (
    BrokenStock,
    StockHeld,
    StockStore,
    StockWouldBeNegative,
    StockWouldOverflow,
    TooManySkus,
    UnknownSku,
)
from api_gateway.problems import STOCK_HELD
from api_gateway.schemas import MAX_STOCK, StockList, StockView
from api_gateway.validation import read_product_stock, read_stock, read_stock_change
from shared.context import logging_about
from shared.http.answers import json_response
from shared.http.auth import actor_of
from shared.http.bodies import JsonBodies
from shared.http.limits import HeavyWork
from shared.http.listing import AFTER_SKU, LIMIT, cursor_text, read_parameters
from shared.http.problems import INVALID_FIELDS, NOT_FOUND, FieldError, Problem, invalid
from shared.http.validation import IDENTIFIER_RULE
from shared.logs import get_logger
from shared.messages import is_identifier
from shared.products.problems import BROKEN_STOCK, STOCK_OUT_OF_BOUNDS, TOO_MANY_SKUS
from shared.products.schemas import ProductStockView

log = get_logger(__name__)


class StockRoutes:
    """Shows and changes what is available."""

    def __init__(self, stock: StockStore, bodies: JsonBodies, lists: HeavyWork) -> None:
        self._stock = stock
        self._bodies = bodies
        self._lists = lists

    async def list(self, request: web.Request) -> web.Response:
        """``GET /inventory``"""
        asked = read_parameters(request, limit=LIMIT, cursor=AFTER_SKU)
        async with self._lists.turn(actor_of(request)):
            page = await self._stock.list(asked["cursor"], asked["limit"])
            return json_response(
                StockList(
                    inventory=[StockView(sku=sku, available=pieces) for sku, pieces in page.stock.items()],
                    next_cursor=None if page.next_after is None else cursor_text(page.next_after),
                )
            )

    async def show(self, request: web.Request) -> web.Response:
        """``GET /inventory/{sku}``"""
        sku = _known_form(request)
        available = await self._stock.get(sku)
        if available is None:
            raise _unknown()
        return json_response(StockView(sku=sku, available=available))

    async def set(self, request: web.Request) -> web.Response:
        """``PUT /inventory/{sku}``"""
        sku = request.match_info["sku"]
        if not is_identifier(sku):
            raise invalid(INVALID_FIELDS, [FieldError(field="sku", message=IDENTIFIER_RULE)])
        wanted = read_stock(await self._bodies.read(request))
        with _changing("set", sku, request):
            available = await self._stock.set(sku, wanted)
            log.info("stock changed", available=available)
        return json_response(StockView(sku=sku, available=available))

    async def adjust(self, request: web.Request) -> web.Response:
        """``PATCH /inventory/{sku}``"""
        sku = _known_form(request)
        delta = read_stock_change(await self._bodies.read(request))
        with _changing("adjust", sku, request):
            available = await self._stock.adjust(sku, delta)
            log.info("stock changed", delta=delta, available=available)
        return json_response(StockView(sku=sku, available=available))

    async def change_product(self, request: web.Request) -> web.Response:
        """``PATCH /products/{sku}/stock``"""
        sku = _known_form(request)
        asked = read_product_stock(await self._bodies.read(request))
        action, change = ("set", self._stock.set) if asked.is_new_level else ("adjust", self._stock.adjust)
        with _changing(action, sku, request):
            available = await change(sku, asked.pieces)
            log.info("stock changed", available=available)
        return json_response(ProductStockView(sku=sku, stock=available))

    async def remove(self, request: web.Request) -> web.Response:
        """``DELETE /inventory/{sku}``"""
        sku = _known_form(request)
        with _changing("remove", sku, request):
            await self._stock.remove(sku)
            log.info("stock changed")
        return web.Response(status=204)


@contextmanager
def _changing(action: str, sku: str, request: web.Request) -> Iterator[None]:
    """Turns the store's refusals into problems. The audit line within says what was changed, and by whom."""
    try:
        with logging_about(action=action, sku=sku, by=actor_of(request)):
            yield
    except UnknownSku as error:
        raise _unknown() from error
    except StockWouldBeNegative as error:
        raise Problem(STOCK_OUT_OF_BOUNDS, "That is more than there is. Nothing was changed.") from error
    except StockWouldOverflow as error:
        detail = f"There would be more than {MAX_STOCK} pieces. Nothing was changed."
        raise Problem(STOCK_OUT_OF_BOUNDS, detail) from error
    except StockHeld as error:
        detail = f"Created orders hold {error.pieces} pieces of it. Nothing was changed."
        raise Problem(STOCK_HELD, detail) from error
    except TooManySkus as error:
        detail = "There are as many SKUs as there may be (GATEWAY_MAX_SKUS). Remove some first."
        raise Problem(TOO_MANY_SKUS, detail) from error
    except BrokenStock as error:
        raise Problem(BROKEN_STOCK, f"{error} holds what is no number. Nothing was changed.") from error


def _known_form(request: web.Request) -> str:
    sku = request.match_info["sku"]
    if not is_identifier(sku):
        raise _unknown()
    return sku


def _unknown() -> Problem:
    return Problem(NOT_FOUND, "There is no such SKU.")
