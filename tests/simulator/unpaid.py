"""Bugs of payments, planted one by one; see planted."""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import order_processor.payments
from order_processor.payments import Payments, PaymentStep, next_step
from order_processor.provider import Declined, ProviderUnanswered
from shared.orders.model import OrderStatus, Payment
from shared.orders.records import OrderRecord
from tests.simulator.planted import ORDERS, Planting, replaced, rewritten

_AUTHORISE: Final = Payments._authorise
_numbers: Final = itertools.count()


async def _authorise_under_another_key(self: Any, record: OrderRecord) -> Any:
    order = replace(record.order, id=f"{record.order.id}-{next(_numbers)}")
    return await _AUTHORISE(self, replace(record, order=order))


async def _take_unknown_for_declined(self: Any, record: OrderRecord) -> Any:
    try:
        return await _AUTHORISE(self, record)
    except ProviderUnanswered:
        return Declined(reason="no answer")


def _take_unknown_for_untaken(status: OrderStatus, payment: Payment | None) -> PaymentStep:
    """What was never authorised is not voided."""
    is_open = payment in (Payment.PENDING, Payment.UNKNOWN)
    return PaymentStep.NOTHING if status is OrderStatus.CANCELLED and is_open else next_step(status, payment)


async def _cancel_nothing(self: Any, record: OrderRecord) -> None:
    await self._payments.note(record.order.id, record.status, is_settled=True)


PAYMENT_BUGS: Final[Mapping[str, Planting]] = {
    "a charge has another key each time": replaced(Payments, "_authorise", _authorise_under_another_key),
    "an unknown payment counts as declined": replaced(Payments, "_authorise", _take_unknown_for_declined),
    "a payment that is under way is not voided": replaced(
        order_processor.payments, "next_step", _take_unknown_for_untaken
    ),
    "a declined payment cancels nothing": replaced(Payments, "_cancel", _cancel_nothing),
    "an order is prepared before it is paid for": rewritten(
        ORDERS, "move", ("if known[7] and ARGV[11] ~= '' and known[7] ~= ARGV[11]", "if false")
    ),
    "a cancellation forgets the payment": rewritten(
        ORDERS, "move", ("if known[7] then redis.call('ZADD', payments, now, order_id) end", "")
    ),
    "a created order waits for no payment": rewritten(
        ORDERS,
        "decide",
        ("(is_new or begun) then redis.call('ZADD', payments", "false then redis.call('ZADD', payments"),
    ),
    "a payment is settled although its order moved on": rewritten(
        ORDERS, "pay", ("(ARGV[7] == '' and known[1] == ARGV[6])", "ARGV[7] == ''")
    ),
    "a late answer overwrites what came after it": rewritten(
        ORDERS, "pay", ("string.find(ARGV[5], ',' .. payment .. ',', 1, true)", "payment ~= to")
    ),
}
"""By name; each shows in weather of its own, see climates."""
