"""Customers who change their minds about mail, and bugs of those who should heed them."""

import random
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

from api_gateway.ports import NotDurable
from notifier.sending import Dispatcher
from shared.errors import StoreUnavailable
from shared.keyspace import Channel
from shared.messaging.retry import Done, Outcome
from tests.simulator.clients import NoAnswer
from tests.simulator.planted import Planting, replaced, rewritten
from tests.simulator.trace import Trace

CUSTOMERS: Final = ("ann", "ben")
CHOICES: Final[Sequence[Collection[Channel]]] = ((), (Channel.MAIL,), (Channel.WEBHOOK,), tuple(Channel))
Ask = Callable[[str, Collection[Channel]], Awaitable[None]]
"""One request to a gateway."""


class Choosers:
    """Each choice is asked for once: what became of it where no answer came, the store's witness knows."""

    def __init__(self, ask: Ask, dice: random.Random, trace: Trace) -> None:
        self._ask = ask
        self._dice = dice
        self._trace = trace

    async def choose(self) -> None:
        """One customer declines some channels, or none."""
        customer = self._dice.choice(CUSTOMERS)
        declined = self._dice.choice(CHOICES)
        self._trace.fault(f"{customer} declines {[*map(str, declined)]}")
        try:
            await self._ask(customer, declined)
        except (StoreUnavailable, NotDurable, NoAnswer) as error:
            self._trace.note(f"the choice of {customer}: {error}")


# --- bugs, planted one by one; see planted ------------------------------------------------------------------


async def _ack_what_is_declined(self: Any, *_: object) -> Outcome:
    """Nothing is written down about it."""
    return Done()


_JUDGED: Final = "local is_declined = customer and redis.call('ZSCORE', KEYS[6], customer)"

CHOICE_BUGS: Final[Mapping[str, Planting]] = {
    "a preference is ignored": rewritten("notifier", "claim", (_JUDGED, "local is_declined = false")),
    "who declined nothing counts as declined": rewritten(
        "notifier", "claim", (_JUDGED, "local is_declined = customer")
    ),
    "what was declined is told once mail is wanted": rewritten(
        "notifier", "claim", (" or held == 'declined'", "")
    ),
    "what is declined is acked and not concluded": replaced(
        Dispatcher, "outcome_without", _ack_what_is_declined
    ),
    "a choice leaves what was chosen before": rewritten(
        "api_gateway", "prefer", ("redis.call('ZREM', KEYS[i], ARGV[1])", "local _ = KEYS[i]")
    ),
}
