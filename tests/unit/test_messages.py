"""The form of orders and events on the wire: exact, checked whole, and the same every time."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import pytest

from shared.errors import DecodeError
from shared.messages import (
    Event,
    Order,
    OrderItem,
    UnknownEvent,
    content_fingerprint,
    decode,
    decode_order,
    encode,
    encode_order,
    epoch_microseconds,
    event_time,
)
from tests.harness.examples import AT, an_order, created, placed, rejected
from tests.harness.pricing import prices_of

Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> bytes:
    """A valid envelope to which ``change`` was done."""
    envelope = orjson.loads(encode(placed(an_order(cable=2, email="a@example.com"))))
    change(envelope)
    return orjson.dumps(envelope)


def setting(**values: object) -> Change:
    """Fields of the envelope set to these values."""
    return lambda envelope: envelope.update(values)


def without(name: str) -> Change:
    """A field of the envelope left out."""
    return lambda envelope: envelope.pop(name)


def with_order(**values: object) -> Change:
    """Fields of the order set to these values."""
    return lambda envelope: envelope["data"]["order"].update(values)


def with_items(*items: object) -> Change:
    """The order's items replaced."""
    return with_order(items=list(items))


MALFORMED: dict[str, tuple[Change, str]] = {
    "another version of CloudEvents": (setting(specversion="0.3"), "specversion"),
    "no id": (without("id"), "id"),
    "no source": (without("source"), "source"),
    "no subject": (without("subject"), "subject"),
    "no time": (without("time"), "time"),
    "no data": (without("data"), "data"),
    "a time without zone": (setting(time="2026-01-01T00:00:00"), "time: has no zone"),
    "a time before the calendar begins": (setting(time="0001-01-01T00:00:00+14:00"), "time"),
    "a time after the calendar ends": (setting(time="9999-12-31T23:59:59-14:00"), "time"),
    "a time that is a number": (setting(time=1_750_000_000), "time"),
    "a time that is a word": (setting(time="yesterday"), "time"),
    "an id of another order": (setting(id="other:order.placed.v1"), "different orders"),
    "a subject of another order": (setting(subject="other"), "different orders"),
    "a correlation id that no header can carry": (setting(correlationid="x" * 256), "correlationid"),
    "a correlation id with a line break": (setting(correlationid="x\ny"), "correlationid"),
    "a traceparent out of all proportion": (setting(traceparent="0" * 256), "traceparent"),
    "an order id that is a path": (with_order(id="../etc"), "data.order.id"),
    "an order id with a line break at its end": (with_order(id="order1\n"), "data.order.id"),
    "no items": (with_items(), "data.order.items"),
    "too many items": (
        with_items(*({"sku": f"s{number}", "qty": 1} for number in range(101))),
        "data.order.items",
    ),
    "the same SKU twice": (with_items({"sku": "s", "qty": 1}, {"sku": "s", "qty": 2}), "data.order.items"),
    "a quantity of none": (with_items({"sku": "s", "qty": 0}), "data.order.items.0.qty"),
    "a quantity past the bound": (with_items({"sku": "s", "qty": 10_001}), "data.order.items.0.qty"),
    "a quantity that is text": (with_items({"sku": "s", "qty": "1"}), "data.order.items.0.qty"),
    "a quantity that is a truth value": (with_items({"sku": "s", "qty": True}), "data.order.items.0.qty"),
    "a quantity that is a fraction": (with_items({"sku": "s", "qty": 1.0}), "data.order.items.0.qty"),
    "an e-mail address without a host": (with_order(email="a@"), "data.order.email"),
}


@pytest.mark.parametrize(("change", "reason"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_envelope_is_refused_and_the_reason_names_the_place(change: Change, reason: str) -> None:
    """Whoever looks into the dead-letter queue reads at once which field was wrong."""
    with pytest.raises(DecodeError, match=reason.replace(".", r"\.")):
        decode(changed(change))


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"order.placed.v1"', b"\xff\xfe", b"{}", b'{"type": 1}', b"[" * 10_000],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_envelope_at_all_is_refused(body: bytes) -> None:
    """Any bytes may lie in a queue; none of them raises anything but DecodeError."""
    with pytest.raises(DecodeError, match=r"not JSON|no type"):
        decode(body)


def test_an_unknown_type_is_told_apart_from_a_malformed_event() -> None:
    """A later version may publish types that this one has never heard of."""
    assert decode(changed(setting(type="order.seen.v1"))) == UnknownEvent(type="order.seen.v1")
    assert decode(changed(setting(type="order.placed.v2"))) == UnknownEvent(type="order.placed.v2")


def test_fields_that_this_version_does_not_know_are_ignored() -> None:
    """An envelope may carry more than is needed here, such as another system's extensions."""

    def extend(envelope: dict[str, Any]) -> None:
        envelope["tenant"] = "acme"
        envelope["data"]["priority"] = 1

    assert decode(changed(extend)) == decode(changed(lambda _: None))


@pytest.mark.parametrize(
    "event",
    [placed(), created(), rejected(), rejected(sku=None)],
    ids=["placed", "created", "rejected", "rejected without a culprit"],
)
def test_what_was_encoded_is_decoded_to_the_same(event: Event[Any]) -> None:
    """Nothing is lost or changed on the way through a queue."""
    assert decode(encode(event)) == event


def test_the_same_step_has_the_same_id_and_the_same_bytes() -> None:
    """A repeated publish can be told from a new event by its id alone."""
    event = created(an_order("order7"))
    assert event.id == "order7:order.created.v1"
    assert encode(event) == encode(created(an_order("order7")))


def test_the_envelope_is_a_cloudevent() -> None:
    """The attributes that CloudEvents 1.0 asks for are there, under its names."""
    envelope = orjson.loads(encode(placed(an_order("order7"))))
    assert envelope["specversion"] == "1.0"
    assert envelope["id"] == "order7:order.placed.v1"
    assert envelope["source"] == "/api_gateway"
    assert envelope["type"] == "order.placed.v1"
    assert envelope["subject"] == "order7"
    assert envelope["time"] == "2025-06-15T15:06:40Z"
    assert envelope["data"]["order"]["id"] == "order7"


def test_times_survive_as_microseconds() -> None:
    """The store keeps integers, events keep instants, and neither rounds."""
    assert epoch_microseconds(event_time(AT + 1)) == AT + 1
    assert epoch_microseconds(placed(at=AT + 999_999).time) == AT + 999_999


def test_the_fingerprint_is_of_the_content_and_not_of_the_id() -> None:
    """The same wish under another id has the same fingerprint."""
    order = an_order("one", email="a@example.com", cable=1, case=2)
    assert content_fingerprint(order) == content_fingerprint(replace(order, id="two"))
    assert len(content_fingerprint(order)) == 32


@pytest.mark.parametrize(
    "other",
    [
        an_order(email="b@example.com", cable=1, case=2),
        an_order(email=None, cable=1, case=2),
        an_order(email="a@example.com", cable=2, case=1),
        an_order(email="a@example.com", cable=1),
        an_order(email="a@example.com", cable=1, case=2, plug=1),
    ],
    ids=["another address", "no address", "quantities swapped", "fewer items", "more items"],
)
def test_the_fingerprint_depends_on_email_and_items(other: Order) -> None:
    """Whatever a customer would notice makes another fingerprint."""
    assert content_fingerprint(other) != content_fingerprint(an_order(email="a@example.com", cable=1, case=2))


def test_the_stores_form_of_an_order_is_read_back() -> None:
    """The record of an order holds all of it."""
    order = Order(id="order1", items=(OrderItem(sku="cable", qty=10_000),), email="ä@example.com")
    assert decode_order(encode_order(order)) == order


def test_a_broken_order_in_the_store_is_a_decode_error() -> None:
    """Readers of records meet one kind of error."""
    with pytest.raises(DecodeError, match="items"):
        decode_order('{"id": "order1", "items": []}')


def test_an_unpriced_event_has_the_bytes_of_before_there_were_prices() -> None:
    """Whoever compares or stored them finds them again."""
    order = {"id": "a", "items": [{"sku": "cable", "qty": 1}], "email": None}
    for event in (placed(an_order("a")), created(an_order("a"))):
        assert orjson.loads(encode(event))["data"] == {"order": order}
    data = orjson.loads(encode(rejected(an_order("a"))))["data"]
    assert data == {"order": order, "reason": "insufficient_stock", "sku": "cable"}


def test_a_priced_event_carries_what_each_piece_costs_and_the_total() -> None:
    """Beside the order, which stays what the client sent."""
    event = placed(an_order("a", cable=2, case=1), prices=prices_of(None, 1999, None))
    data = orjson.loads(encode(event))["data"]
    assert data["order"] == orjson.loads(encode_order(event.data.order))
    lines = [{"unit_amount": 1999, "name": "Cable"}, None]
    assert data["prices"] == {"currency": "EUR", "lines": lines, "amount_total": None}
    assert decode(encode(event)) == event


def test_what_a_newer_version_adds_is_passed_over() -> None:
    """As an older consumer passes over prices; what it knows it reads."""
    event = created(an_order("a"), prices=prices_of(1999, 1999))
    raw = orjson.loads(encode(event))
    raw["data"]["discounts"] = raw["data"]["prices"]["discounts"] = [1]
    raw["data"]["order"]["gift"] = True
    assert decode(orjson.dumps(raw)) == event


@pytest.mark.parametrize(
    ("prices", "says"),
    [
        ({"currency": "EUR", "lines": [], "amount_total": 0}, "not as many prices as items"),
        ({"currency": "euro", "lines": [None], "amount_total": None}, "prices.currency"),
        ({"currency": "EUR", "lines": [{"unit_amount": 1.5, "name": ""}], "amount_total": 1}, "unit_amount"),
        ({"currency": "EUR", "lines": [{"unit_amount": -1, "name": ""}], "amount_total": 1}, "unit_amount"),
        ({"currency": "EUR", "lines": [{"unit_amount": 1}], "amount_total": 1}, "name"),
        ({"currency": "EUR", "lines": [None], "amount_total": "1"}, "amount_total"),
        ([], "prices"),
    ],
    ids=str,
)
def test_prices_are_checked_where_they_come_in(prices: object, says: str) -> None:
    """Nothing behind this point has to wonder."""
    raw = orjson.loads(encode(placed(an_order("a"))))
    raw["data"]["prices"] = prices
    with pytest.raises(DecodeError, match=says):
        decode(orjson.dumps(raw))
