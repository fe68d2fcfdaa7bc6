"""The codec over all orders and all bytes."""

import contextlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given, strategies as st

from shared.errors import DecodeError
from shared.messages import (
    Event,
    EventData,
    Order,
    OrderCreated,
    OrderItem,
    OrderPlaced,
    OrderRejected,
    Trace,
    UnknownEvent,
    content_fingerprint,
    decode,
    decode_all,
    decode_order,
    encode,
    encode_order,
    epoch_microseconds,
    event_time,
    join,
    split,
)
from shared.prices import (
    MAX_AMOUNT_TOTAL,
    MAX_NAME_LENGTH,
    MAX_UNIT_AMOUNT,
    LinePrice,
    Prices,
    prices_text,
    read_prices,
)

identifiers = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
visible = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=255)
items = st.lists(
    st.builds(OrderItem, sku=identifiers, qty=st.integers(min_value=1, max_value=10_000)),
    min_size=1,
    max_size=8,
    unique_by=lambda item: item.sku,
).map(tuple)
emails = st.none() | st.from_regex(r"[a-zà-ÿ.+]{1,20}@[a-z.]{1,20}", fullmatch=True)
orders = st.builds(Order, id=identifiers, items=items, email=emails)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
)
CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
lines = st.none() | st.builds(
    LinePrice, unit_amount=st.integers(0, MAX_UNIT_AMOUNT), name=st.text(max_size=MAX_NAME_LENGTH)
)


@st.composite
def priced_data(draw: st.DrawFn) -> EventData:
    """What happened to an order, with prices or without."""
    order = draw(orders)
    count = len(order.items)
    prices = draw(
        st.none()
        | st.builds(
            Prices,
            currency=st.sampled_from(("EUR", "JPY", "KWD")),
            lines=st.lists(lines, min_size=count, max_size=count).map(tuple),
            amount_total=st.none() | st.integers(0, MAX_AMOUNT_TOTAL),
        )
    )
    rejected: st.SearchStrategy[EventData] = st.builds(
        OrderRejected, order=st.just(order), reason=texts, sku=st.none() | identifiers, prices=st.just(prices)
    )
    others: st.SearchStrategy[EventData] = st.one_of(
        st.just(OrderPlaced(order=order, prices=prices)), st.just(OrderCreated(order=order, prices=prices))
    )
    return draw(st.one_of(others, rejected))


data: st.SearchStrategy[EventData] = priced_data()
events = st.builds(
    Event,
    source=texts,
    time=st.datetimes(timezones=st.just(UTC)),
    data=data,
    trace=st.builds(Trace, correlation_id=visible, traceparent=st.none() | visible.filter(bool)),
)


@given(events)
def test_every_event_survives_the_wire(event: Event[EventData]) -> None:
    """Encoding and decoding is the identity, and encoding again gives the same bytes."""
    decoded = decode(encode(event))
    assert isinstance(decoded, Event)
    assert decoded == event
    assert encode(decoded) == encode(event)


@given(st.lists(json_values, min_size=1, max_size=6), st.sampled_from([None, 0, 3]), st.booleans())
def test_a_batch_is_split_into_what_was_joined(
    values: list[object], indent: int | None, ascii_only: bool
) -> None:
    """Byte for byte, whatever the elements are and however they are written."""
    bodies = [json.dumps(each, indent=indent, ensure_ascii=ascii_only).encode() for each in values]
    batch = b" " + join([b"\n" + body + b"\t" for body in bodies]) if len(bodies) > 1 else b"[%b]" % bodies[0]
    assert split(batch) == bodies
    assert len(decode_all(batch)) == len(bodies)


@given(st.binary())
def test_no_bytes_raise_anything_but_a_decode_error(body: bytes) -> None:
    """Poison is told apart from a fault of ours."""
    with contextlib.suppress(DecodeError):
        decode(body)


@given(events, st.data())
def test_a_damaged_envelope_is_refused_or_still_whole(event: Event[EventData], draw: st.DataObject) -> None:
    """Damage on the way never yields an event about another order under the same id."""
    body = bytearray(encode(event))
    place = draw.draw(st.integers(min_value=0, max_value=len(body) - 1))
    body[place] = draw.draw(st.integers(min_value=0, max_value=255))
    try:
        decoded = decode(bytes(body))
    except DecodeError:
        return
    if not isinstance(decoded, UnknownEvent):
        assert decoded.id == f"{decoded.data.order.id}:{decoded.type}"


@given(orders)
def test_the_stores_form_survives_too(order: Order) -> None:
    """The record of an order gives the order back, with the same fingerprint."""
    again = decode_order(encode_order(order))
    assert again == order
    assert content_fingerprint(again) == content_fingerprint(order)


@given(priced_data())
def test_prices_survive_the_store(data: EventData) -> None:
    """Names of any script, without the control characters that the accept script takes out."""
    prices = data.prices
    if prices is not None:
        named = (line and replace(line, name=CONTROLS.sub(" ", line.name)) for line in prices.lines)
        prices = replace(prices, lines=tuple(named))
    assert read_prices(prices_text(prices), len(data.order.items)) == prices


@given(st.datetimes(timezones=st.just(UTC)))
def test_microseconds_and_instants_are_inverse(instant: datetime) -> None:
    """No time is rounded on its way into the store and back."""
    assert event_time(epoch_microseconds(instant)) == instant
