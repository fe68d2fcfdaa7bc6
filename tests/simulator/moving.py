"""Operators and customers who move orders on or cancel them, at any time and more than once."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import pairwise
from typing import Final

from api_gateway.ports import NotDurable
from shared.errors import StoreUnavailable
from shared.orders.model import OUTCOMES, PAYMENT_STEPS, PAYMENTS, OrderStatus, Payment
from shared.orders.moves import EVENT_TYPES, Move, Moved, MoveResult, NotMovable
from shared.orders.records import OrderRecord, last_payment
from tests.simulator.clients import Ledger, NoAnswer
from tests.simulator.trace import Trace

ASKED: Final = (*EVENT_TYPES, OrderStatus.CANCELLED)
"""Cancellation twice as often as any other move: it meets decisions and redrives."""
MOST_TRIES: Final = 3

Ask = Callable[[str, Move], Awaitable[MoveResult | None]]
"""One request to a gateway; None where it knows no such order."""


class Movers:
    """Whoever moves orders in one simulation. Requests are repeated under one key, as ``orderctl`` does."""

    def __init__(self, ask: Ask, ledger: Ledger, dice: random.Random, trace: Trace) -> None:
        self._ask = ask
        self._ledger = ledger
        self._dice = dice
        self._trace = trace
        self._requests = 0
        self.moved: dict[str, set[OrderStatus]] = {}
        """What was said to have happened, by order."""

    async def move(self) -> None:
        """Somebody asks for some move of some order, or two do at once."""
        known = sorted(self._ledger.acknowledged)
        if not known:
            return
        order_id = self._dice.choice(known)
        for to in self._dice.sample(ASKED, self._dice.choice((1, 1, 2))):
            self._requests += 1
            move = Move(order_id=order_id, to=to, by="olga", key=f"move-{self._requests}")
            asyncio.get_running_loop().create_task(self._pursue(order_id, move))

    async def _pursue(self, order_id: str, move: Move) -> None:
        for _ in range(MOST_TRIES):
            try:
                result = await self._ask(order_id, move)
            except (StoreUnavailable, NotDurable, NoAnswer) as error:
                self._trace.note(f"{move.to} of {order_id}: {error}")
                continue
            self._trace.note(f"{move.to} of {order_id}: {result}")
            if isinstance(result, Moved):
                self.moved.setdefault(order_id, set()).add(move.to)
            if not isinstance(result, NotMovable):
                return
            await asyncio.sleep(self._dice.random())

    def faults(self, records: Mapping[str, OrderRecord | str]) -> Iterator[str]:
        """Moves that were promised and never happened; orders that took a step twice, or two ways at once."""
        for order_id, moves in self.moved.items():
            found = records.get(order_id)
            taken = [step.step for step in found.timeline] if isinstance(found, OrderRecord) else []
            for to in sorted(moves - set(taken)):
                yield f"{order_id} was said to be {to}, and never was"
        for order_id, found in records.items():
            if isinstance(found, OrderRecord):
                taken = [step.step for step in found.timeline if step.step in (*OUTCOMES, *EVENT_TYPES)]
                if len(taken) != len(set(taken)):
                    yield f"{order_id} has taken a step twice: {taken}"
                if OrderStatus.CANCELLED in taken[:-1]:
                    yield f"{order_id} went on after it was cancelled: {taken}"
                steps = [step.step for step in found.timeline]
                payments = [PAYMENT_STEPS[step] for step in steps if step in PAYMENT_STEPS]
                if any(after not in PAYMENTS[before] for before, after in pairwise(payments)):
                    yield f"the payment of {order_id} was {payments}"
                if found.payment and OrderStatus.PROCESSING in steps:
                    before = steps[: steps.index(OrderStatus.PROCESSING)]
                    if last_payment(before) is not Payment.AUTHORISED:
                        yield f"{order_id} was prepared before it was paid for: {steps}"
