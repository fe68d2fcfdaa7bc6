"""A second version of ``order.created``, planted: ``python -m tests.harness.second_version SERVICE``.

The service runs as it would if this version were in the product: it works with the second one, reads the
first as if it were of the second, and where it publishes, sends both.
"""

import operator
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from pydantic import TypeAdapter

import notifier.main
import order_processor.handlers
from notifier.domain import TOLD
from shared import contracts, messages, pipeline, versions
from shared.messages import Event, OrderCreated, OrderPlaced
from shared.messaging.retry import Done, Outcome
from shared.orders.decisions import Decision
from shared.service.program import program_of

FIRST: Final = "order.created.v1"
SECOND: Final = "order.created.v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderCreatedAgain(OrderCreated):
    """It says from where the order will be sent, which the first version cannot."""

    warehouse: str


def raised(data: OrderCreated) -> OrderCreatedAgain:
    """What the first version says, in the second."""
    return OrderCreatedAgain(order=data.order, prices=data.prices, warehouse="not known")


def plant(put: Callable[[Any, Any, Any], None]) -> None:
    """Makes the version known: ``put`` sets an item of a table."""
    put(messages.EVENT_TYPES, SECOND, OrderCreatedAgain)
    put(messages._TYPE_NAMES, OrderCreatedAgain, SECOND)
    put(messages._FIELDS, OrderCreatedAgain, ("order", "prices", "warehouse"))
    put(messages._ENVELOPES, SECOND, TypeAdapter(messages._Envelope[OrderCreatedAgain]))
    put(contracts.TYPES, SECOND, OrderCreatedAgain)
    put(pipeline.ROUTES, SECOND, pipeline.ROUTES[FIRST])
    put(versions.UPCASTERS, FIRST, raised)


def both_versions(event: Event[Any]) -> Iterator[Event[Any]]:
    """An event as it is published: in each version that somebody may wait for."""
    yield event
    if type(event.data) is OrderCreated:
        yield replace(event, data=raised(event.data))


def main() -> None:
    """Runs a service in which it is planted."""
    plant(operator.setitem)
    decided = order_processor.handlers._outcome

    def outcome(placed: Event[OrderPlaced], decision: Decision) -> Outcome:
        found = decided(placed, decision)
        if isinstance(found, Done):
            return Done(events=tuple(each for event in found.events for each in both_versions(event)))
        return found

    order_processor.handlers._outcome = outcome
    told = tuple(OrderCreatedAgain if kind is OrderCreated else kind for kind in TOLD)
    vars(notifier.main)["TOLD"] = told
    program_of(sys.argv[1]).main()


if __name__ == "__main__":
    main()
