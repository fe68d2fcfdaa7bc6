"""What consumers may rely on: every event as JSON Schema, and where it travels, as one AsyncAPI 3 document.

All of it follows from ``messages``, ``shop_events``, ``versions`` and ``pipeline``, so that it cannot say
something else than what is sent.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from inspect import getdoc
from typing import Any, Final

from shared.messages import EVENT_TYPES, event_schemas
from shared.pipeline import CONSUMPTIONS, EXCHANGES, ROUTES, SHOP_ROUTES, EventRoute, matches
from shared.settings import EVENTS_PER_MESSAGE
from shared.shop_events import SHOP_EVENT_TYPES
from shared.versions import UPCASTERS, next_version

Json = dict[str, Any]

ASYNCAPI: Final = "3.0.0"
TYPES: Final[Mapping[str, type[object]]] = {**EVENT_TYPES, **SHOP_EVENT_TYPES}
RAISED: Final = "x-raised-to"
"""Says of a message which version consumers of this project take it for."""
_BATCHES: Final = (
    f"A message holds one event, or a JSON array of up to {EVENTS_PER_MESSAGE} of one route "
    "(`application/cloudevents-batch+json`). "
    "Events come at least once and in no certain order; the `id` of one is the same however often it comes. "
    "Fields may be added within a version: pass over what you do not know."
)
_SCHEMAS: Final = "#/components/schemas/"
_MESSAGES: Final = "#/components/messages/"


def asyncapi() -> Json:
    """The document, as JSON would have it."""
    routes = {**ROUTES, **SHOP_ROUTES}
    channels: dict[str, list[str]] = {}  # which all versions of an event share
    for name, route in routes.items():
        channels.setdefault(route.routing_key, []).append(name)
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Order pipeline: events",
            "version": version("order-pipeline"),
            "description": _BATCHES,
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": {key: _channel(names, routes[names[0]]) for key, names in channels.items()},
        "operations": {
            name: each for names in channels.values() for name, each in _operations(names, routes[names[0]])
        },
        "components": {"messages": {name: _message(name) for name in routes}, "schemas": _schemas()},
    }


def _channel(events: Sequence[str], route: EventRoute) -> Json:
    exchange = next(each for each in EXCHANGES if each.name == route.exchange)
    return {
        "address": route.routing_key,
        "description": "Bind a queue of your own to the exchange with this routing key, or with a pattern.",
        "messages": {event: {"$ref": f"{_MESSAGES}{event}"} for event in events},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": exchange.name, "type": exchange.type, "durable": True},
            }
        },
    }


def _operations(events: Sequence[str], route: EventRoute) -> Iterator[tuple[str, Json]]:
    channel = {"$ref": f"#/channels/{route.routing_key}"}
    messages = [{"$ref": f"{channel['$ref']}/messages/{event}"} for event in events]
    for service in route.publishers:
        told = f"{service} tells of it, confirmed by the broker."
        yield (
            f"{service}-sends-{route.routing_key}",
            {"action": "send", "channel": channel, "messages": messages, "description": told},
        )
    for each in CONSUMPTIONS:
        if each.exchange.name == route.exchange and matches(each.routing_key, route.routing_key):
            told = f"{each.service} reads it from {each.queue}, acked by hand."
            yield (
                f"{each.service}-receives-{route.routing_key}",
                {"action": "receive", "channel": channel, "messages": messages, "description": told},
            )


def _message(event: str) -> Json:
    told = getdoc(TYPES[event]) or ""
    raised = {RAISED: next_version(event)} if event in UPCASTERS else {}
    return {
        **raised,
        "name": event,
        "title": event,
        "summary": told.partition("\n")[0],
        "payload": {"$ref": f"{_SCHEMAS}{event}"},
        "correlationId": {"location": "$message.payload#/correlationid"},
    }


def _schemas() -> Json:
    envelopes, parts = event_schemas(TYPES, f"{_SCHEMAS}{{model}}")
    return {name: _untitled(schema) for name, schema in {**parts, **envelopes}.items()}


def _untitled(schema: Any) -> Any:
    """Without the titles that pydantic makes of the names."""
    if isinstance(schema, list):
        return [_untitled(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: each for name, each in schema.items() if name != "title" or not isinstance(each, str)}
    return {name: _untitled(each) for name, each in kept.items()}
