"""From events of orders to promised deliveries; only then comes the ack."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Protocol

from shared.messages import EVENT_TYPES, Event, encode
from shared.messaging.handlers import Incoming
from shared.messaging.retry import Done, Outcome
from shared.versions import first_version
from shared.webhooks.schemas import EVENT_NAMES
from webhooks.model import Told

TOLD: Final = tuple(data for name, data in EVENT_TYPES.items() if first_version(name) in EVENT_NAMES)
"""The kinds of events that receivers are told of."""


class Owners(Protocol):
    """Whose orders are."""

    async def owners_of(self, order_ids: Sequence[str]) -> Mapping[str, str]:
        """Who is told of each besides the operators, where that is known. Raises StoreUnavailable."""


class PromisedDeliveries(Protocol):
    """Where deliveries are written."""

    async def record(self, told: Sequence[Told]) -> int:
        """Each once for each endpoint; how many were new. Raises DatabaseUnavailable."""


class WebhookHandler:
    """Promises a batch of events to those that want to be told."""

    def __init__(self, owners: Owners, promises: PromisedDeliveries, promised: Callable[[], None]) -> None:
        """``promised`` is called where there is something to deliver."""
        self._owners = owners
        self._promises = promises
        self._promised = promised

    async def __call__(self, messages: Sequence[Incoming]) -> Sequence[Outcome]:
        """All of them are dealt with. Raises DependencyUnavailable, after which they come again."""
        events = [incoming.event for incoming in messages]
        owners = await self._owners.owners_of([event.subject for event in events])
        if await self._promises.record([_told(event, owners.get(event.subject)) for event in events]):
            self._promised()
        return [Done() for _ in messages]


def _told(event: Event[Any], owner: str | None) -> Told:
    """Without the customer's address, which is no receiver's business."""
    order = replace(event.data.order, email=None)
    shown = replace(event, data=replace(event.data, order=order))
    return Told(
        event_id=event.id,
        event_type=first_version(event.type),
        order_id=event.subject,
        owner=owner,
        body=encode(shown).decode(),
    )
