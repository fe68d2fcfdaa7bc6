"""Decisions and notifications as values: the same fact always says the same."""

import pytest

from notifier.domain import Kind, notification_of
from shared.messages import OrderCreated, OrderRejected, encode, event_time
from shared.orders.decisions import Created, Rejected, event_of
from tests.harness.examples import AT, TRACE, an_order, created, placed, rejected

ORDER = an_order("a", email="a@example.com", cable=2, case=1)


def test_the_event_of_a_created_order_carries_the_order_and_the_time_of_the_decision() -> None:
    """Everybody downstream reads it from the event; nobody has to ask."""
    event = event_of(ORDER, Created(decided_at=event_time(AT)), TRACE)
    assert event.data == OrderCreated(order=ORDER)
    assert (event.id, event.time, event.trace) == ("a:order.created.v1", event_time(AT), TRACE)


def test_the_event_of_a_rejected_order_says_why_and_which_item() -> None:
    """The customer is told what was short."""
    decision = Rejected(decided_at=event_time(AT), reason="insufficient_stock", sku="case")
    event = event_of(ORDER, decision, TRACE)
    assert event.data == OrderRejected(order=ORDER, reason="insufficient_stock", sku="case")
    assert event.id == "a:order.rejected.v1"


def test_the_same_decision_makes_the_same_bytes() -> None:
    """An event that is published again after a crash is the one that was published before."""
    decision = Created(decided_at=event_time(AT))
    assert encode(event_of(ORDER, decision, TRACE)) == encode(event_of(ORDER, decision, TRACE))


def test_a_confirmation_names_the_order_its_items_and_the_outcome() -> None:
    """A person understands it without looking anything up."""
    notification = notification_of(created(ORDER))
    assert (notification.id, notification.kind) == ("a:order.created.v1", Kind.CREATED)
    items = [(item.sku, item.qty) for item in notification.items]
    assert (notification.recipient, items) == ("a@example.com", [("cable", 2), ("case", 1)])
    assert notification.subject == "Your order a is confirmed"
    assert all(part in notification.text for part in ("Order a is confirmed", "2 x cable", "1 x case"))


@pytest.mark.parametrize(
    ("reason", "sku", "says"),
    [
        ("insufficient_stock", "case", "case: there is not enough of it in stock"),
        ("unknown_sku", "case", "case: it is not in our range"),
        ("dropped", None, "Reason: it could not be processed"),
        ("a_later_reason", None, "Reason: a_later_reason"),
    ],
)
def test_a_rejection_says_why_in_words(reason: str, sku: str | None, says: str) -> None:
    """Reasons that this version does not know are passed on as they are."""
    notification = notification_of(rejected(ORDER, reason=reason, sku=sku))
    assert notification.kind is Kind.REJECTED
    assert says in notification.text
    assert "Nothing was reserved" in notification.text


def test_an_order_that_is_merely_placed_is_told_to_nobody() -> None:
    """Customers hear of outcomes."""
    with pytest.raises(ValueError, match="OrderPlaced"):
        notification_of(placed(ORDER))
