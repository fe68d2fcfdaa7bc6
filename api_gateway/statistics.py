"""``GET /stats``: the part of each service, in one answer."""

import asyncio
from dataclasses import dataclass
from typing import Final

import orjson
from aiohttp import web

from shared.customers.schemas import UserStatistics
from shared.errors import ServiceUnavailable
from shared.history.listing import DAYS
from shared.history.routes import DAYS_PARAMETER, HISTORY
from shared.history.schemas import OrderStatistics
from shared.http.answers import json_response
from shared.http.auth import Access
from shared.http.client import AskedService
from shared.http.forwarding import handed_on
from shared.http.listing import read_parameters
from shared.http.problems import INVALID_PARAMETER
from shared.http.routes import Route
from shared.products.schemas import ProductStatistics

ORDERS: Final = "orders"
"""The part that goes back some days."""
_REASONS: Final = {401: "it takes a token", 403: "this account may not see it"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsView:
    """What each service can say. A part that cannot be had is absent, and ``notes`` has its name and why."""

    orders: OrderStatistics | None = None
    products: ProductStatistics | None = None
    users: UserStatistics | None = None
    notes: dict[str, str]


def statistics_route(**services: AskedService) -> Route:
    """``GET /stats``, of the services that have a part, each named as its part is."""

    async def part(request: web.Request, name: str, service: AskedService, days: int) -> bytes | str:
        """What a service says, or why it does not."""
        query = f"?days={days}" if name == ORDERS else ""
        try:
            answer = await service.send("GET", f"/{name}/stats{query}", headers=handed_on(request))
        except ServiceUnavailable as error:
            return str(error)
        if answer.status == 200:
            return answer.body
        return _REASONS.get(answer.status, f"it answered {answer.status}")

    async def show(request: web.Request) -> web.Response:
        days = read_parameters(request, days=DAYS)["days"]
        asking = (part(request, name, service, days) for name, service in services.items())
        found = await asyncio.gather(*asking)
        parts = dict(zip(services, found, strict=True))
        told = {name: orjson.Fragment(each) for name, each in parts.items() if isinstance(each, bytes)}
        notes = {name: why for name, why in parts.items() if isinstance(why, str)}
        return json_response({**told, "notes": notes})

    return Route(
        path="/stats",
        handler=show,
        access=Access.OPERATOR,
        name="getStatistics",
        tag=HISTORY,
        summary="What the shop comes to",
        description="The answers of `GET /orders/stats`, `/products/stats` and `/users/stats` together.",
        meaning="The statistics.",
        answer=StatisticsView,
        parameters=(DAYS_PARAMETER,),
        problems=(INVALID_PARAMETER,),
    )
