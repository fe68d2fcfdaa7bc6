"""The routes about stock, for operators."""

import re
from typing import Final

from aiohttp import web

from api_gateway.ports import BrokenStock, StockStore, StockWouldBeNegative, StockWouldOverflow, UnknownSku
from api_gateway.problems import BROKEN_STOCK, STOCK_OUT_OF_BOUNDS
from api_gateway.schemas import MAX_STOCK, StockList, StockView
from api_gateway.validation import IDENTIFIER_RULE, read_stock, read_stock_change
from shared.http.answers import json_response
from shared.http.bodies import parse_json, read_body
from shared.http.limits import HttpLimits
from shared.http.problems import INVALID_FIELDS, NOT_FOUND, FieldError, Problem, invalid
from shared.messages import IDENTIFIER_PATTERN

_IDENTIFIER: Final = re.compile(IDENTIFIER_PATTERN)


class StockRoutes:
    """Shows and changes what is available."""

    def __init__(self, stock: StockStore, limits: HttpLimits) -> None:
        self._stock = stock
        self._limits = limits

    async def list(self, _: web.Request) -> web.Response:
        """``GET /inventory``"""
        stock = await self._stock.list()
        return json_response(
            StockList(inventory=[StockView(sku=sku, available=pieces) for sku, pieces in stock.items()])
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
        if not _IDENTIFIER.fullmatch(sku):
            raise invalid(INVALID_FIELDS, [FieldError(field="sku", message=IDENTIFIER_RULE)])
        wanted = read_stock(parse_json(await read_body(request, self._limits)))
        try:
            available = await self._stock.set(sku, wanted)
        except BrokenStock as error:
            raise Problem(BROKEN_STOCK, "The books of supplied stock hold what is no number.") from error
        return json_response(StockView(sku=sku, available=available))

    async def adjust(self, request: web.Request) -> web.Response:
        """``PATCH /inventory/{sku}``"""
        sku = _known_form(request)
        delta = read_stock_change(parse_json(await read_body(request, self._limits)))
        try:
            available = await self._stock.adjust(sku, delta)
        except UnknownSku as error:
            raise _unknown() from error
        except StockWouldBeNegative as error:
            raise Problem(STOCK_OUT_OF_BOUNDS, "That is more than there is. Nothing was changed.") from error
        except StockWouldOverflow as error:
            detail = f"There would be more than {MAX_STOCK} pieces. Nothing was changed."
            raise Problem(STOCK_OUT_OF_BOUNDS, detail) from error
        except BrokenStock as error:
            raise Problem(BROKEN_STOCK, "What is stored is no number. Set it anew with PUT.") from error
        return json_response(StockView(sku=sku, available=available))


def _known_form(request: web.Request) -> str:
    sku = request.match_info["sku"]
    if not _IDENTIFIER.fullmatch(sku):
        raise _unknown()
    return sku


def _unknown() -> Problem:
    return Problem(NOT_FOUND, "There is no such SKU.")
