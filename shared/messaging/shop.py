"""Events of the shop as messages, told to the queues that are bound, if any are."""

import orjson

from shared.messaging.ports import TRACEPARENT, HeaderValue, OutgoingMessage
from shared.pipeline import SHOP_ROUTES


def shop_message(envelope: str) -> OutgoingMessage:
    """What :func:`shared.shop_events.shop_event` made, as a message on its route."""
    told = orjson.loads(envelope)
    route = SHOP_ROUTES[told["type"]]
    headers: dict[str, HeaderValue] = {TRACEPARENT: told[TRACEPARENT]} if TRACEPARENT in told else {}
    return OutgoingMessage(
        exchange=route.exchange,
        routing_key=route.routing_key,
        body=envelope.encode(),
        correlation_id=told["correlationid"],
        headers=headers,
        mandatory=route.mandatory,
    )
