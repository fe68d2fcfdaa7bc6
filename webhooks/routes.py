"""What the routes about webhooks do."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from shared.http.answers import json_response
from shared.http.auth import Caller, Role, actor_of, caller_of
from shared.http.bodies import JsonBodies
from shared.http.limits import Gate
from shared.http.listing import LIMIT, NO_CURSOR, ListParameter, cursor_place, cursor_text, read_parameters
from shared.http.problems import INVALID_FIELDS, NOT_FOUND, FieldError, Problem, invalid
from shared.http.routes import Handler
from shared.http.validation import WHOLE_BODY, read_fields
from shared.instants import read_instant
from shared.logs import get_logger
from shared.messages import event_time, is_identifier
from shared.webhooks.problems import TOO_MANY_WEBHOOKS, WEBHOOK_DISABLED
from shared.webhooks.schemas import (
    AttemptView,
    DeliveryList,
    DeliveryStatus,
    DeliveryView,
    RecoverBody,
    RecoveredView,
    ResendBody,
    SecretWebhookView,
    WebhookBody,
    WebhookChangeBody,
    WebhookList,
    WebhookView,
)
from webhooks.addresses import checked_receiver_url
from webhooks.endpoints import EndpointStore, TooManyEndpoints, UnknownEndpoint
from webhooks.log import DeliveryLog, LoggedDelivery
from webhooks.model import (
    DISABLED_ASKED,
    OPERATORS,
    UNOWNED,
    WebhookEndpoint,
    owner_of,
    webhook_id,
)

LARGEST_CURSOR: Final = 17

log = get_logger(__name__)


class WebhookRoutes:
    """Shows and changes the webhooks of who asks; those of others are unknown."""

    def __init__(
        self,
        endpoints: EndpointStore,
        deliveries: DeliveryLog,
        wake: Callable[[], None],
        *,
        bodies: JsonBodies,
        gate: Gate,
        is_private_allowed: bool,
    ) -> None:
        """``wake`` is called where there is something to deliver."""
        self._endpoints = endpoints
        self._deliveries = deliveries
        self._wake = wake
        self._bodies = bodies
        self._gate = gate
        self._is_private_allowed = is_private_allowed
        self._handlers: Mapping[str, Handler] = {
            "createWebhook": self.create,
            "listWebhooks": self.list,
            "getWebhook": self.show,
            "changeWebhook": self.change,
            "deleteWebhook": self.delete,
            "rotateWebhookSecret": self.rotate,
            "listDeliveries": self.deliveries,
            "resendDelivery": self.resend,
            "recoverDeliveries": self.recover,
        }

    def handler(self, name: str) -> Handler:
        """What answers the route of this name, as long as not too many are at work."""
        handler = self._handlers[name]

        async def known(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except UnknownEndpoint as error:
                raise Problem(NOT_FOUND, "There is no such webhook.") from error

        return self._gate.around(known)

    async def create(self, request: web.Request) -> web.Response:
        """``POST /webhooks``"""
        body = read_fields(WebhookBody, await self._bodies.read(request))
        url = self._checked(body.url)
        events = list(dict.fromkeys(body.events))
        try:
            endpoint, secret = await self._endpoints.create(_owner(request), url, events, body.description)
        except TooManyEndpoints as error:
            raise Problem(TOO_MANY_WEBHOOKS, "Remove one before you add another.") from error
        _audit("webhook created", endpoint, request)
        location = {"Location": f"/webhooks/{endpoint.id}"}
        return json_response(_with_secret(endpoint, secret), status=201, headers=location)

    async def list(self, request: web.Request) -> web.Response:
        """``GET /webhooks``"""
        found = await self._endpoints.of_owner(_owner(request))
        return json_response(WebhookList(webhooks=[WebhookView(**_shown(each)) for each in found]))

    async def show(self, request: web.Request) -> web.Response:
        """``GET /webhooks/{id}``"""
        return json_response(WebhookView(**_shown(await self._endpoint(request))))

    async def change(self, request: web.Request) -> web.Response:
        """``PATCH /webhooks/{id}``"""
        body = read_fields(WebhookChangeBody, await self._bodies.read(request))
        changes: dict[str, Any] = {name: getattr(body, name) for name in body.model_fields_set}
        if not changes:
            fault = FieldError(field=WHOLE_BODY, message="must name a field to change")
            raise invalid(INVALID_FIELDS, [fault])
        if "url" in changes:
            self._checked(body.url)
        if "events" in changes:
            changes["events"] = " ".join(dict.fromkeys(body.events))
        if "enabled" in changes:
            changes["disabled_reason"] = None if changes.pop("enabled") else DISABLED_ASKED
        endpoint = await self._endpoints.change(_owner(request), _named_id(request), changes)
        _audit("webhook changed", endpoint, request)
        return json_response(WebhookView(**_shown(endpoint)))

    async def delete(self, request: web.Request) -> web.Response:
        """``DELETE /webhooks/{id}``"""
        endpoint = await self._endpoint(request)
        await self._endpoints.remove(endpoint.owner, endpoint.id)
        _audit("webhook removed", endpoint, request)
        return web.Response(status=204)

    async def rotate(self, request: web.Request) -> web.Response:
        """``POST /webhooks/{id}/rotate``"""
        endpoint, secret = await self._endpoints.rotate(_owner(request), _named_id(request))
        _audit("webhook secret rotated", endpoint, request)
        return json_response(_with_secret(endpoint, secret))

    async def deliveries(self, request: web.Request) -> web.Response:
        """``GET /webhooks/{id}/deliveries``"""
        asked = read_parameters(request, status=_STATUS, limit=LIMIT, cursor=_CURSOR)
        endpoint, limit = await self._endpoint(request), asked["limit"]
        found = await self._deliveries.page(endpoint.id, asked["status"], asked["cursor"], limit + 1)
        shown = found[:limit]
        more = cursor_text(str(shown[-1].sequence)) if len(found) > limit else None
        return json_response(DeliveryList(deliveries=[_delivery(each) for each in shown], next_cursor=more))

    async def resend(self, request: web.Request) -> web.Response:
        """``POST /webhooks/{id}/resend``"""
        body = read_fields(ResendBody, await self._bodies.read(request))
        endpoint = await self._enabled(request)
        delivery = await self._deliveries.resend(endpoint.id, body.sequence)
        if delivery is None:
            raise Problem(NOT_FOUND, "There is no delivery of this number, or none any more.")
        self._wake()
        return json_response(_delivery(delivery), status=202)

    async def recover(self, request: web.Request) -> web.Response:
        """``POST /webhooks/{id}/recover``"""
        body = read_fields(RecoverBody, await self._bodies.read(request))
        endpoint = await self._enabled(request)
        count = await self._deliveries.recover(endpoint.id, read_instant(body.since))
        self._wake()
        return json_response(RecoveredView(deliveries=count), status=202)

    def _checked(self, url: str) -> str:
        try:
            return checked_receiver_url(url, is_private_allowed=self._is_private_allowed)
        except ValueError as error:
            raise invalid(INVALID_FIELDS, [FieldError(field="url", message=str(error))]) from error

    async def _endpoint(self, request: web.Request) -> WebhookEndpoint:
        return await self._endpoints.get(_owner(request), _named_id(request))

    async def _enabled(self, request: web.Request) -> WebhookEndpoint:
        endpoint = await self._endpoint(request)
        if endpoint.disabled_reason is not None:
            raise Problem(WEBHOOK_DISABLED, f"Enable it first: {endpoint.disabled_reason}.")
        return endpoint


def _owner(request: web.Request) -> str:
    """Whose webhooks the caller has to do with: the own, those of all operators, or those for orders of no
    customer, as ``history.ownership`` has it of the orders themselves.
    """
    caller: Caller = caller_of(request)
    if caller.role is Role.CUSTOMER:
        return owner_of(caller.customer)
    return UNOWNED if caller.is_anonymous else OPERATORS


def _named_id(request: web.Request) -> str:
    """The id in the path. Raises UnknownEndpoint where no webhook can have it."""
    endpoint_id = request.match_info["id"]
    if not is_identifier(endpoint_id):
        raise UnknownEndpoint
    return endpoint_id


def _audit(action: str, endpoint: WebhookEndpoint, request: web.Request) -> None:
    log.info("audit", action=action, endpoint=endpoint.id, owner=endpoint.owner, by=actor_of(request))


def _shown(endpoint: WebhookEndpoint) -> dict[str, Any]:
    since = endpoint.failing_since
    return {
        "id": endpoint.id,
        "url": endpoint.url,
        "description": endpoint.description,
        "events": endpoint.events,
        "enabled": endpoint.disabled_reason is None,
        "disabled_reason": endpoint.disabled_reason,
        "failing_since": None if since is None else event_time(since),
        "sequence": endpoint.sequence,
        "created_at": event_time(endpoint.created_at),
    }


def _with_secret(endpoint: WebhookEndpoint, secret: str) -> SecretWebhookView:
    return SecretWebhookView(**_shown(endpoint), secret=secret)


def _delivery(delivery: LoggedDelivery) -> DeliveryView:
    is_pending = delivery.status is DeliveryStatus.PENDING
    return DeliveryView(
        sequence=delivery.sequence,
        webhook_id=webhook_id(delivery.endpoint_id, delivery.sequence),
        event_id=delivery.event_id,
        event_type=delivery.event_type,
        order_id=delivery.order_id,
        status=delivery.status,
        created_at=event_time(delivery.created_at),
        next_attempt_at=event_time(delivery.due_at) if is_pending else None,
        attempts=delivery.attempts,
        latest=[
            AttemptView(
                at=event_time(each.at), milliseconds=each.milliseconds, status=each.status, error=each.error
            )
            for each in delivery.latest
        ],
    )


def _status(value: str) -> str:
    if value not in list(DeliveryStatus):
        raise ValueError(f"must be one of {', '.join(DeliveryStatus)}")
    return value


def _sequence(cursor: str) -> int:
    place = cursor_place(cursor)
    if not place.isdecimal() or len(place) > LARGEST_CURSOR:
        raise ValueError(NO_CURSOR)
    return int(place)


_STATUS: Final = ListParameter(parse=_status)
_CURSOR: Final = ListParameter(parse=_sequence)
