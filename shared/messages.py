"""Orders and the events about them, and their form on the wire.

An event is a CloudEvents 1.0 envelope in JSON; a message holds one of them, or a JSON array of several. The
data classes here are what the code works with; pydantic checks them once, where bytes come in, and orjson
writes them where bytes go out.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError

from shared.errors import DecodeError
from shared.prices import Cost, Prices
from shared.versions import UPCASTERS, first_version

MAX_QTY: Final = 10_000
MAX_ITEMS: Final = 100
MAX_EVENTS: Final = 1_000
"""Of a message; one that holds more than that, fifteen times what is ever sent, is taken for no batch."""
IDENTIFIER_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Form of an order id and of a SKU. pydantic's engine matches ``$`` at the very end only."""

_IDENTIFIER: Final = re.compile(IDENTIFIER_PATTERN)
_WHITE_SPACE: Final = b" \t\r\n"
_STRING_OR_MARK: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{},]', re.DOTALL)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Identifier = Annotated[str, Field(pattern=IDENTIFIER_PATTERN)]
Quantity = Annotated[int, Field(strict=True, ge=1, le=MAX_QTY)]
EmailAddress = Annotated[
    str, Field(max_length=254, pattern=r"^[^@\s\x00-\x1f\x7f-\x9f]{1,64}@[^@\s\x00-\x1f\x7f-\x9f]{1,189}$")
]


def is_identifier(text: str) -> bool:
    """Whether an order, a SKU or a user may be called so."""
    return _IDENTIFIER.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderItem:
    """A quantity of one SKU, in pieces."""

    sku: Identifier
    qty: Quantity


def _each_sku_once(items: tuple[OrderItem, ...]) -> tuple[OrderItem, ...]:
    if len(items) > 1 and len({item.sku for item in items}) != len(items):
        raise ValueError("the same SKU stands in two items")
    return items


OrderItems = Annotated[
    tuple[OrderItem, ...], Field(min_length=1, max_length=MAX_ITEMS), AfterValidator(_each_sku_once)
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a customer asked for. All of its items are reserved, or none is."""

    id: Identifier
    items: OrderItems
    email: EmailAddress | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderPlaced:
    """The gateway has accepted an order durably, at these prices, if any of its products has one.

    ``customer`` is whose it is.
    """

    order: Order
    prices: Prices | None = None
    customer: Identifier | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderStep:
    """What events say of an order that went on, at the prices at which it was accepted."""

    order: Order
    prices: Prices | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCreated(OrderStep):
    """Stock for the whole order has been taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRejected:
    """The order was decided against; nothing was taken. ``sku`` names the item at fault, if one is."""

    order: Order
    reason: str
    sku: str | None = None
    prices: Prices | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderProcessing(OrderStep):
    """The order is being prepared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderShipped(OrderStep):
    """The order is on its way to the customer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderDelivered(OrderStep):
    """The customer has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCancelled:
    """The order ended before it was shipped. Stock that was taken for it is available again."""

    order: Order
    reason: str | None = None
    prices: Prices | None = None


EventData = (
    OrderPlaced
    | OrderCreated
    | OrderRejected
    | OrderProcessing
    | OrderShipped
    | OrderDelivered
    | OrderCancelled
)
Data = TypeVar("Data", bound=EventData, covariant=True)
Content = TypeVar("Content")

EVENT_TYPES: Final[Mapping[str, type[EventData]]] = {
    "order.placed.v1": OrderPlaced,
    "order.created.v1": OrderCreated,
    "order.rejected.v1": OrderRejected,
    "order.processing.v1": OrderProcessing,
    "order.shipped.v1": OrderShipped,
    "order.delivered.v1": OrderDelivered,
    "order.cancelled.v1": OrderCancelled,
}
_TYPE_NAMES: Final[Mapping[type[object], str]] = {data: name for name, data in EVENT_TYPES.items()}
_WHERE_KNOWN: Final = frozenset(("prices", "customer"))
_FIELDS: Final = {data: tuple(field.name for field in fields(data)) for data in EVENT_TYPES.values()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What ties one request's messages, log lines and timeline together.

    ``traceparent`` is the W3C Trace Context header, handed on unchanged.
    """

    correlation_id: str
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Generic[Data]):
    """A CloudEvents 1.0 envelope. ``time`` is when the step was decided, not when it was sent.

    ``is_replay`` says that an operator had it sent again to one consumer, or that it follows from such.
    """

    source: str
    time: datetime
    data: Data
    trace: Trace
    is_replay: bool = False

    @property
    def type(self) -> str:
        """The event's type with its version, such as ``order.created.v1``."""
        return type_name(type(self.data))

    @property
    def subject(self) -> str:
        """The order's id."""
        return self.data.order.id

    @property
    def id(self) -> str:
        """``{order id}:{type}``: the same step has the same id however often it is published.

        That is so in each version of the type, too: the id names the first.
        """
        return f"{self.subject}:{step_name(type(self.data))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnknownEvent:
    """A well-formed envelope of a type that this version does not know: acked and counted."""

    type: str


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be text, as RFC 3339 has it")  # noqa: TRY004 - what pydantic reports
    return value


def _in_utc(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise ValueError("has no zone")
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("lies outside of the calendar") from error


EventTime = Annotated[datetime, BeforeValidator(_text), AfterValidator(_in_utc)]
HeaderText = Annotated[str, Field(pattern=r"^[\x20-\x7e]{0,255}$")]
"""What fits into a property of an AMQP message, so that whatever is handed on can be published."""


@dataclass(frozen=True, slots=True)
class _Envelope(Generic[Content]):
    specversion: Annotated[str, Field(pattern=r"^1\.0$")]
    id: str
    source: str
    type: str
    subject: str
    time: EventTime
    data: Content
    correlationid: HeaderText = ""
    traceparent: HeaderText | None = None
    replay: Annotated[bool, Field(strict=True)] = False


_ENVELOPES: Final[Mapping[str, TypeAdapter[_Envelope[EventData]]]] = {
    name: TypeAdapter(_Envelope[data])  # type: ignore[valid-type]  # the map's value is a class
    for name, data in EVENT_TYPES.items()
}
_ORDER: Final = TypeAdapter(Order)


def type_name(data: type[object]) -> str:
    """The wire name of a kind of event."""
    return _TYPE_NAMES[data]


def step_name(data: type[object]) -> str:
    """The wire name of the first version of a kind of event: what ids say, whichever version is sent."""
    return first_version(type_name(data))


def event_schemas(
    types: Mapping[str, type[object]], ref_template: str
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The JSON Schema of each event by its type, and of what these refer to as ``ref_template`` says."""
    inputs: list[tuple[str, Literal["validation"], TypeAdapter[Any]]] = [
        (name, "validation", TypeAdapter(_Envelope[data]))  # type: ignore[valid-type]  # as above
        for name, data in types.items()
    ]
    chosen, found = TypeAdapter.json_schemas(inputs, ref_template=ref_template)
    parts = dict(found["$defs"])
    envelopes = {name: parts.pop(schema["$ref"].rpartition("/")[2]) for (name, _), schema in chosen.items()}
    for name, schema in envelopes.items():
        schema["properties"]["type"] = {"const": name}
    return envelopes, parts


def event_time(microseconds: int) -> datetime:
    """The instant that is ``microseconds`` after the Unix epoch, exactly."""
    return _EPOCH + timedelta(microseconds=microseconds)


def epoch_microseconds(instant: datetime) -> int:
    """The inverse of :func:`event_time`."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def encode(event: Event[EventData]) -> bytes:
    """Writes the envelope as JSON; the same event gives the same bytes."""
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time,
        "datacontenttype": "application/json",
        "data": _written(event.data),
        "correlationid": event.trace.correlation_id,
    }
    if event.trace.traceparent:
        envelope["traceparent"] = event.trace.traceparent
    if event.is_replay:
        envelope["replay"] = True
    return orjson.dumps(envelope, option=orjson.OPT_UTC_Z)


def _written(data: EventData) -> dict[str, Any]:
    """Without prices and customer where there are none, as it was before there were any."""
    shown = ((name, getattr(data, name)) for name in _FIELDS[type(data)])
    return {name: value for name, value in shown if value is not None or name not in _WHERE_KNOWN}


def decode(body: bytes) -> Event[EventData] | UnknownEvent:
    """Reads one envelope and checks all of it. Raises DecodeError, whose text says what is wrong."""
    return _decoded(_parsed(body))


def decode_all(body: bytes) -> Sequence[Event[EventData] | UnknownEvent | DecodeError]:
    """What a message holds, an element for each event in it; a DecodeError says what is wrong with one.

    A batch is known by its being an array, whatever its content type says.
    """
    try:
        raw = _parsed(body)
    except DecodeError as error:
        return [error]
    if not isinstance(raw, list):
        return [_outcome(raw)]
    if not 1 <= len(raw) <= MAX_EVENTS:
        return [DecodeError(f"a batch of {len(raw)} events")]
    return [_outcome(each) for each in raw]


def is_batch(body: bytes) -> bool:
    """Whether a message is an array, without reading all of it."""
    return body.lstrip(_WHITE_SPACE)[:1] == b"["


def join(bodies: Sequence[bytes]) -> bytes:
    """One message that holds the events of several messages of one event each."""
    return b"[" + b",".join(bodies) + b"]" if len(bodies) > 1 else bodies[0]


def split(body: bytes) -> Sequence[bytes]:
    """The inverse of :func:`join`, each event byte for byte; the body itself where it is no batch that can be
    read. There are as many as :func:`decode_all` gives.
    """
    if not is_batch(body):
        return [body]
    try:
        raw = _parsed(body)
    except DecodeError:
        return [body]
    return list(_elements(body)) if 1 <= len(raw) <= MAX_EVENTS else [body]


def _elements(array: bytes) -> Iterator[bytes]:
    """The elements of an array that is known to be JSON, as they are written in it."""
    depth = begin = 0
    for token in _STRING_OR_MARK.finditer(array):
        mark = token[0]
        if mark in b"[{":
            depth += 1
            begin = begin or token.end()
        elif mark in b"]}":
            depth -= 1
        if depth == 0 or (depth == 1 and mark == b","):
            yield array[begin : token.start()].strip(_WHITE_SPACE)
            begin = token.end()


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise DecodeError(f"not JSON: {error}") from error


def _outcome(raw: Any) -> Event[EventData] | UnknownEvent | DecodeError:
    try:
        return _decoded(raw)
    except DecodeError as error:
        return error


def _decoded(raw: Any) -> Event[EventData] | UnknownEvent:
    if not isinstance(raw, dict) or not isinstance(raw.get("type"), str):
        raise DecodeError("not a CloudEvents envelope: no type")
    adapter = _ENVELOPES.get(raw["type"])
    if adapter is None:
        return UnknownEvent(type=raw["type"])
    return _checked(adapter, raw)


def _checked(adapter: TypeAdapter[_Envelope[EventData]], raw: dict[str, Any]) -> Event[EventData]:
    try:
        envelope = adapter.validate_python(raw)
    except ValidationError as error:
        raise DecodeError(_first_fault(error)) from error
    event = Event(
        source=envelope.source,
        time=envelope.time,
        data=_raised(envelope.data),
        trace=Trace(correlation_id=envelope.correlationid, traceparent=envelope.traceparent),
        is_replay=envelope.replay,
    )
    if envelope.subject != event.subject or envelope.id != event.id:
        raise DecodeError("id, subject and data name different orders")
    prices = event.data.prices
    if prices is not None and len(prices.lines) != len(event.data.order.items):
        raise DecodeError("there are not as many prices as items")
    return event


def _raised(data: EventData) -> EventData:
    """What was said in an older version, in today's."""
    while (upcaster := UPCASTERS.get(type_name(type(data)))) is not None:
        data = upcaster(data)
    return data


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in fault["loc"])
    return f"{place}: {fault['msg'].removeprefix('Value error, ')}"


def encode_order(order: Order) -> str:
    """The order as JSON, the form in which the store keeps it."""
    return orjson.dumps(order).decode()


def decode_order(text: str) -> Order:
    """The inverse of :func:`encode_order`. Raises DecodeError."""
    try:
        return _ORDER.validate_json(text)
    except ValidationError as error:
        raise DecodeError(_first_fault(error)) from error


def content_fingerprint(order: Order) -> str:
    """A digest of an order's items and e-mail, without the id: what tells it from another of this id."""
    return request_fingerprint(order, Cost())


def request_fingerprint(order: Order, expected: Cost, not_before: int | None = None) -> str:
    """A digest of everything that a client asked for, without the id: 32 hex digits.

    It is that of the content alone where the client said neither what it expects to pay nor when to begin.
    """
    asked: list[Any] = [order.email, [[item.sku, item.qty] for item in order.items]]
    if expected:
        asked.append({"currency": expected.currency, "amount_total": expected.amount_total})
    if not_before is not None:
        asked.append({"not_before": not_before})
    return hashlib.blake2b(orjson.dumps(asked), digest_size=16).hexdigest()
