"""The payment of orders: a saga beside their decision.

An order that is created and costs something is to be paid for. Its status stays ``created`` meanwhile, and
it is prepared only once its payment is authorised. A payment that is declined cancels the order, which gives
its stock back; an order that is cancelled has its payment voided, wherever that stood. Each step may be done
twice, or at once by a processor that had stalled: the provider knows a charge by its key, what was voided is
never taken, and the store has a table of what may follow what.
"""

import asyncio
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

from order_processor.provider import Authorised, Charge, Declined, PaymentProvider, ProviderUnanswered
from shared.failpoints import failpoint
from shared.logs import get_logger
from shared.messaging.waiting import repeating
from shared.orders.model import OrderStatus, Payment
from shared.orders.moves import Move, Moved
from shared.orders.ports import MoveStore, PaymentStore
from shared.orders.records import OrderRecord
from shared.pipeline import ORDER_PROCESSOR
from shared.redis.lease import Lease

LEASE_SECONDS: Final = 3.0
PAUSE_SECONDS: Final = 0.5
AT_ONCE: Final = 64
DECLINED: Final = "payment_declined"
"""Why an order was cancelled for which nobody pays."""

log = get_logger(__name__)


class PaymentStep(Enum):
    """What is to be done next about the payment of an order."""

    AUTHORISE = auto()
    CANCEL = auto()
    VOID = auto()
    NOTHING = auto()


def next_step(status: OrderStatus, payment: Payment | None) -> PaymentStep:
    """By where the order and its payment stand."""
    if status is OrderStatus.CANCELLED:
        is_over = payment in (None, Payment.DECLINED, Payment.REFUNDED)
        return PaymentStep.NOTHING if is_over else PaymentStep.VOID
    if payment in (Payment.PENDING, Payment.UNKNOWN):
        return PaymentStep.AUTHORISE
    return PaymentStep.CANCEL if payment is Payment.DECLINED else PaymentStep.NOTHING


class Payments:
    """Sees to the payments that are due, one processor at a time while none outlasts its lease."""

    def __init__(
        self,
        payments: PaymentStore,
        moves: MoveStore,
        provider: PaymentProvider,
        lease: Lease,
        *,
        timeout_seconds: float,
    ) -> None:
        self._payments = payments
        self._moves = moves
        self._provider = provider
        self._lease = lease
        self._timeout_seconds = timeout_seconds

    async def run(self) -> None:
        """Sees to what is due, again and again, until cancelled."""
        await repeating(self._round, PAUSE_SECONDS, what="paying for orders")

    async def _round(self) -> None:
        while (due := await self._payments.due(AT_ONCE)) and await self._lease.hold(LEASE_SECONDS):
            await self._see_to(due)

    async def settle(self) -> int:
        """Takes the next step of payments that are due; returns of how many. Raises StoreUnavailable."""
        due = await self._payments.due(AT_ONCE)
        await self._see_to(due)
        return len(due)

    async def _see_to(self, due: Sequence[tuple[str, OrderRecord | None]]) -> None:
        steps = (self._step(order_id, record) for order_id, record in due)
        for ended in await asyncio.gather(*steps, return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended

    async def _step(self, order_id: str, record: OrderRecord | None) -> None:
        if record is None:  # it was removed, or may be repaired
            await self._payments.note(order_id, None, is_settled=False)
            return
        step = next_step(record.status, record.payment)
        if step is PaymentStep.NOTHING:
            await self._payments.note(order_id, record.status, record.payment, is_settled=True)
        elif step is PaymentStep.CANCEL:
            await self._cancel(record)
        else:
            await self._ask(record, step)

    async def _ask(self, record: OrderRecord, step: PaymentStep) -> None:
        order_id = record.order.id
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await (self._void(record) if step is PaymentStep.VOID else self._authorise(record))
        except (ProviderUnanswered, TimeoutError) as error:
            log.warning(
                "payment provider gave no answer", order_id=order_id, step=step.name, reason=str(error)
            )
            unknown = Payment.UNKNOWN if record.payment is Payment.PENDING else None
            await self._payments.note(order_id, record.status, unknown, is_settled=False)
            return
        news, reason = _news(answer)
        log.info("payment", order_id=order_id, payment=news.value, reason=reason or None)
        is_settled = next_step(record.status, news) is PaymentStep.NOTHING
        await self._payments.note(order_id, record.status, news, reason=reason, is_settled=is_settled)
        if news is Payment.DECLINED:
            await self._cancel(record)

    async def _authorise(self, record: OrderRecord) -> Authorised | Declined:
        prices = record.prices
        if prices is None or prices.amount_total is None:
            return Declined(reason="no_amount")
        charge = Charge(key=record.order.id, amount=prices.amount_total, currency=prices.currency)
        answer = await self._provider.authorise(charge)
        failpoint("after_authorise")
        return answer

    async def _void(self, record: OrderRecord) -> None:
        await self._provider.void(record.order.id)
        failpoint("after_void")

    async def _cancel(self, record: OrderRecord) -> None:
        """Once it is cancelled it is due again, for a last look; what cannot be moved now is tried later."""
        order_id = record.order.id
        move = Move(order_id=order_id, to=OrderStatus.CANCELLED, by=ORDER_PROCESSOR.service, reason=DECLINED)
        result = await self._moves.move(record, move)
        if not isinstance(result, Moved):
            log.warning("order that nobody pays for cannot be cancelled", order_id=order_id, why=str(result))
            await self._payments.note(order_id, record.status, is_settled=False)


def _news(answer: Authorised | Declined | None) -> tuple[Payment, str]:
    """Where the payment stands after an answer, and why."""
    if answer is None:
        return Payment.REFUNDED, ""
    if isinstance(answer, Authorised):
        return Payment.AUTHORISED, ""
    return Payment.DECLINED, answer.reason
