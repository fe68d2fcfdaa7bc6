"""From ``order.placed`` to ``order.created`` or ``order.rejected``."""

from collections.abc import Sequence

from shared.failpoints import failpoint
from shared.logs import get_logger
from shared.messages import Event, OrderPlaced
from shared.messaging.handlers import Incoming
from shared.messaging.retry import Dead, Done, Outcome
from shared.orders.decisions import Cancelled, Decision, Undecidable, event_of
from shared.orders.ports import DecisionStore
from shared.tracing import log_fields

log = get_logger(__name__)


class OrderPlacedHandler:
    """Decides a batch of orders in one round trip and says what to announce."""

    def __init__(self, store: DecisionStore) -> None:
        self._store = store

    async def __call__(self, batch: Sequence[Incoming]) -> Sequence[Outcome]:
        """Run again, it finds the stored decisions and announces the same events."""
        events = [incoming.event for incoming in batch]
        decisions = await self._store.decide(events)
        failpoint("after_reserve")
        return [_outcome(event, decision) for event, decision in zip(events, decisions, strict=True)]


def _outcome(placed: Event[OrderPlaced], decision: Decision) -> Outcome:
    if isinstance(decision, Cancelled):
        return Done(events=())
    if isinstance(decision, Undecidable):
        return Dead(reason=decision.reason, error=decision.detail)
    event = event_of(placed.data.order, decision, placed.trace, is_replay=placed.is_replay)
    log.info(
        event.type,
        order_id=event.subject,
        correlation_id=placed.trace.correlation_id,
        reason=getattr(decision, "reason", None),
        **log_fields(placed.trace.traceparent),
    )
    return Done(events=(event,))
