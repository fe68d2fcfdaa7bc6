"""Whether an order looks honest, told by its address alone."""

from collections.abc import Sequence

from shared.logs import get_logger
from shared.messages import Event, OrderCreated
from shared.messaging.handlers import Incoming
from shared.messaging.retry import Dead, Done, Outcome, Retry

log = get_logger(__name__)


class FraudCheckHandler:
    """Lets orders pass, looks twice at those without an address, and sets those of one domain aside."""

    def __init__(self, blocked_domain: str) -> None:
        self._blocked_domain = blocked_domain

    async def __call__(self, batch: Sequence[Incoming]) -> Sequence[Outcome]:
        """One outcome per event. Run again, it comes to the same outcomes."""
        return [self._outcome(each.event, each.history.attempts) for each in batch]

    def _outcome(self, created: Event[OrderCreated], attempts: int) -> Outcome:
        email = created.data.order.email
        if email is None and attempts == 0:
            return Retry(reason="no_address", error="looked at again once others have been seen")
        if email is not None and email.endswith(f"@{self._blocked_domain}"):
            return Dead(reason="suspicious", error=f"an address of {self._blocked_domain}")
        log.info("order passed", order_id=created.subject)
        return Done()
