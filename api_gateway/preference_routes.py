"""The routes about how customers want to be told of their orders."""

from typing import Any

from aiohttp import web

from api_gateway.ports import PreferenceStore
from api_gateway.schemas import PreferencesBody, PreferencesView
from shared.history.ownership import may_see
from shared.http.answers import json_response
from shared.http.auth import Access, actor_of, caller_of
from shared.http.bodies import JsonBodies
from shared.http.limits import HttpLimits
from shared.http.problems import NOT_FOUND, STORE_UNAVAILABLE, Problem
from shared.http.routes import Route
from shared.http.validation import read_fields
from shared.keyspace import Channel
from shared.logs import get_logger
from shared.messages import is_identifier

log = get_logger(__name__)


class PreferenceRoutes:
    """Shows and changes the preferences of one customer: to that customer, and to operators."""

    def __init__(self, preferences: PreferenceStore, bodies: JsonBodies) -> None:
        self._preferences = preferences
        self._bodies = bodies

    async def show(self, request: web.Request) -> web.Response:
        """``GET /customers/{id}/preferences``"""
        declined = await self._preferences.declined_by(_customer(request))
        return json_response(PreferencesView(**{channel: channel not in declined for channel in Channel}))

    async def set(self, request: web.Request) -> web.Response:
        """``PUT /customers/{id}/preferences``"""
        customer = _customer(request)
        wanted = read_fields(PreferencesBody, await self._bodies.read(request)).model_dump()
        await self._preferences.decline(customer, [each for each in Channel if not wanted[each]])
        log.info("preferences changed", customer=customer, by=actor_of(request), **wanted)
        return json_response(PreferencesView(**wanted))


def _customer(request: web.Request) -> str:
    customer = request.match_info["id"]
    if not is_identifier(customer) or not may_see(caller_of(request), customer):
        raise Problem(NOT_FOUND, "There is no such customer.")
    return customer


def preference_table(preferences: PreferenceStore, limits: HttpLimits) -> tuple[Route, ...]:
    """Both routes. As they are about accounts, they take a token always."""
    routes = PreferenceRoutes(preferences, JsonBodies(limits))

    def route(name: str, **further: Any) -> Route:
        return Route(
            name=name,
            path="/customers/{id}/preferences",
            access=Access.SIGNED_IN,
            tag="customers",
            answer=PreferencesView,
            problems=(NOT_FOUND, STORE_UNAVAILABLE),
            **further,
        )

    return (
        route(
            "getPreferences",
            handler=routes.show,
            summary="Show by which channels a customer is told of orders",
            description="To that customer, and to operators. Both are on where nothing was chosen.",
            meaning="The preferences.",
        ),
        route(
            "setPreferences",
            method="PUT",
            handler=routes.set,
            summary="Choose by which channels a customer is told of orders",
            description="Mail that waits to be sent, or sent again, obeys it. What was declined is not told "
            "later. The customer's webhooks are promised nothing while `webhook` is off. An order's timeline "
            "and `notifications` say how its customer was told, or that mail was declined.",
            meaning="The preferences from now on.",
            bodies=(PreferencesBody,),
            body_examples={"no mail": {"mail": False, "webhook": True}},
        ),
    )
