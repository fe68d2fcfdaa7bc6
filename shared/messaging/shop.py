"""Events of the shop: what became of a product or a customer, told to the queues that are bound, if any are.

They are CloudEvents like those of orders, and kept in an outbox of the service that tells them, as the text
that will be sent or what it follows from: the same event has the same bytes however often it is published.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from shared.messages import Trace
from shared.messaging.ports import TRACEPARENT, HeaderValue, OutgoingMessage
from shared.pipeline import SHOP_ROUTES


def shop_event(
    kind: str,
    *,
    source: str,
    subject: str,
    number: int,
    time: datetime,
    data: Mapping[str, Any],
    trace: Trace,
) -> str:
    """The envelope. ``number`` tells the steps of one subject apart: its id is the same at every publish."""
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"{subject}:{kind}:{number}",
        "source": source,
        "type": kind,
        "subject": subject,
        "time": time,
        "datacontenttype": "application/json",
        "data": data,
        "correlationid": trace.correlation_id,
    }
    if trace.traceparent:
        envelope["traceparent"] = trace.traceparent
    return orjson.dumps(envelope, option=orjson.OPT_UTC_Z).decode()


def shop_message(envelope: str) -> OutgoingMessage:
    """What :func:`shop_event` made, as a message on its route."""
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
