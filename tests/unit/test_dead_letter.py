"""What a dead letter shows, which letters a filter means, and what a redriven message takes along."""

import base64
from dataclasses import replace

import orjson
import pytest

from dashboard.dead_letters.letter import Letter, Wanted, read_letter, view
from shared.messaging.ports import Delivery, HeaderValue
from shared.messaging.redrive import Past, redriven_headers
from shared.messaging.retry import History
from tests.harness.examples import AT, an_order, created, delivery_of, placed

DEAD = "orders.dead"
HOUR = 3_600 * 1_000_000
FAILED: dict[str, HeaderValue] = {
    "op-attempts": 6,
    "op-reason": "handler_error",
    "op-first-failed-at": AT,
    "op-last-failed-at": AT + HOUR,
    "op-last-error": "KeyError: 'x'",
}


def a_delivery(body: bytes, **headers: HeaderValue) -> Delivery:
    """A delivery of any bytes."""
    return replace(delivery_of(placed()), body=body, headers=headers)


def a_letter(body: bytes | None = None, queue: str = DEAD, **headers: HeaderValue) -> Letter:
    """A letter about ``order1`` with its cable, or with any body."""
    delivery = delivery_of(placed()) if body is None else a_delivery(body)
    return read_letter(queue, replace(delivery, headers=headers or FAILED))


def test_a_letter_shows_what_is_known_of_it() -> None:
    """Everything that an operator decides by."""
    shown = view(a_letter(), AT + 2 * HOUR)
    assert shown["id"] == "orders.dead:order1:order.placed.v1"
    assert (shown["queue"], shown["order_id"], shown["event_type"]) == (DEAD, "order1", "order.placed.v1")
    assert (shown["reason"], shown["attempts"], shown["last_error"]) == ("handler_error", 6, "KeyError: 'x'")
    assert (shown["last_failed_at"] - shown["first_failed_at"]).total_seconds() == 3_600
    assert (shown["age_seconds"], shown["skus"], shown["redriven"]) == (3_600, ["cable"], 0)
    assert shown["body"]["data"]["order"]["id"] == "order1"


def test_the_same_event_has_different_ids_in_different_queues() -> None:
    """And the same one in the same queue, however often it was delivered."""
    first, again = a_letter(), read_letter(DEAD, delivery_of(placed(), tag=7, delivery_count=3))
    assert first.id == again.id != a_letter(queue="notifier.dead").id


@pytest.mark.parametrize(
    "body",
    [b"\xff\xfe", b"", b"[]", b'"text"', b'{"type": 3}', b"{" * 2_000]
    + [b"[" * depth + b"]" * depth for depth in (250, 251, 252, 253, 254, 255, 256, 1_000)],
)
def test_what_cannot_be_read_is_shown_all_the_same(body: bytes) -> None:
    """With an id that is stable too."""
    letter = a_letter(body)
    assert (letter.event, letter.order_id, letter.id) == (None, None, a_letter(body).id)
    shown = view(letter, AT)
    assert ("body" in shown) != ("body_base64" in shown)
    assert orjson.dumps({"letters": [shown]}, option=orjson.OPT_INDENT_2)
    assert shown["body_bytes"] == len(body)


def test_an_envelope_that_does_not_hold_tells_its_order_and_type() -> None:
    """So that an operator finds the letter of an order whose message cannot be read."""
    letter = a_letter(b'{"type": "order.placed.v1", "subject": "order7", "data": {}}')
    assert (letter.event, letter.event_type, letter.order_id) == (None, "order.placed.v1", "order7")
    assert a_letter(b'{"type": "x", "subject": "../etc"}').order_id is None


def test_an_event_of_an_unknown_type_is_named() -> None:
    """It may come from a newer version."""
    letter = a_letter(b'{"type": "order.shipped.v1", "subject": "order7"}')
    assert (letter.event_type, letter.order_id) == ("order.shipped.v1", "order7")


def test_a_long_body_is_shown_by_its_beginning() -> None:
    """An answer stays of a size that can be read."""
    shown = view(a_letter(b'["' + b"x" * 100_000 + b'"]'), AT)
    assert len(base64.b64decode(shown["body_base64"])) == 1_024


def test_a_letter_that_the_broker_moved_has_the_brokers_reason() -> None:
    """The router was not there to write one."""
    letter = a_letter(None, DEAD, **{"x-first-death-reason": "delivery_limit"})
    assert (letter.reason, letter.age_seconds(AT)) == ("delivery_limit", None)
    assert a_letter(None, DEAD, other="x").reason == "unknown"


@pytest.mark.parametrize("forged", ["two words", "tab\tand\nline", "x" * 65, ""])
def test_a_reason_is_a_word(forged: str) -> None:
    """It goes into timelines, whose lines and columns it must not break."""
    assert a_letter(None, DEAD, **{"op-reason": forged}).reason == "unknown"


@pytest.mark.parametrize(
    ("wanted", "is_included"),
    [
        (Wanted(), True),
        (Wanted(queues=("notifier.dead",)), False),
        (Wanted(ids=("order1",)), True),
        (Wanted(ids=("orders.dead:order1:order.placed.v1",)), True),
        (Wanted(ids=("order", "order11")), False),
        (Wanted(reason="handler_error"), True),
        (Wanted(reason="handler"), False),
        (Wanted(sku="cable"), True),
        (Wanted(sku="lamp"), False),
        (Wanted(older_than=3_600), True),
        (Wanted(older_than=3_601), False),
        (Wanted(younger_than=3_600), False),
        (Wanted(younger_than=3_601), True),
        (Wanted(sku="cable", reason="other"), False),
    ],
)
def test_a_filter_means_letters_for_which_all_of_it_holds(wanted: Wanted, is_included: bool) -> None:
    """Ages count from the last failure."""
    assert wanted.includes(a_letter(), AT + 2 * HOUR) is is_included


def test_a_letter_of_unknown_age_is_neither_old_nor_young() -> None:
    """Nothing is done by age to a letter that has none."""
    letter = a_letter(None, DEAD, other="x")
    assert not Wanted(older_than=0).includes(letter, AT)
    assert not Wanted(younger_than=1e9).includes(letter, AT)


def test_a_redriven_message_starts_anew_and_keeps_its_past() -> None:
    """The attempts of its life are over; the traces of the broker and of this life's failure are gone."""
    headers = {**FAILED, "traceparent": "00-1-2-01", "x-delivery-count": 4}
    after = redriven_headers(headers, AT + 2 * HOUR)
    assert History.read(after) == History(first_failed_at=AT)
    assert Past.read(after) == Past(
        redriven=1,
        redriven_at=AT + 2 * HOUR,
        previous_reason="handler_error",
        previous_error="KeyError: 'x'",
        previous_attempts=6,
    )
    assert after["traceparent"] == "00-1-2-01"
    assert "x-delivery-count" not in after


def test_attempts_of_all_lives_add_up() -> None:
    """A message that is redriven for the third time tells how much was spent on it."""
    headers = dict(FAILED)
    for _ in range(3):
        headers = {**redriven_headers(headers, AT), **FAILED}
    past = Past.read(headers)
    assert (past.redriven, past.previous_attempts) == (3, 18)


def test_a_past_that_somebody_else_wrote_is_not_believed() -> None:
    """Headers can hold anything."""
    assert Past.read({"op-redriven": "many", "op-previous-attempts": -3}) == Past()


def test_a_letter_about_a_decision_is_no_placement() -> None:
    """Only a placed order can still be decided."""
    letter = read_letter("notifier.dead", delivery_of(created(an_order())))
    assert (letter.placed, letter.order_id) == (None, "order1")
