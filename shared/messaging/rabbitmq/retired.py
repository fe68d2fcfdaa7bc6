"""Taking queues of earlier versions out, whose consumers now follow the log of steps.

What such a queue holds is in the log and in the records of orders, from which its consumer makes up for it.
Its binding goes first, so that nothing fills it. Queues go once nothing consumes it: services of the earlier
version that run yet could not make them again, and not connect without them. That is by the next ``orderctl
up`` or run of the Job, if not by this one. Dead letters stay until the operator has seen to them.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from shared.messaging.rabbitmq.management import QueueRow, ask_management, list_queues
from shared.pipeline import RETIRED, Consumption, bindings, queues

QUEUES: Final = frozenset(queue.name for queue in queues(RETIRED))


def remove_retired(management_url: str, vhost: str) -> None:
    """Again, and nothing changes; asked as the operator. Raises ManagementUnavailable."""
    place = quote(vhost, safe="")
    for each in bindings(RETIRED):
        key = quote(each.routing_key, safe="").replace("*", "%2A")
        _remove(management_url, f"/api/bindings/{place}/e/{each.exchange}/q/{each.queue}/{key}")
    found = {queue.name: queue for queue in list_queues(management_url, vhost=vhost)}
    for consumption in RETIRED:
        for name in _done_with(consumption, found):
            _remove(management_url, f"/api/queues/{place}/{name}")


def _done_with(consumption: Consumption, found: Mapping[str, QueueRow]) -> Sequence[str]:
    """Its queues that may go. What is not known yet, as after a start of the brokers, is no reason."""
    main, dead = found.get(consumption.queue), found.get(consumption.dead_queue)
    if main is not None and main.consumers != 0:
        return ()
    names = [queue.name for queue in queues([consumption]) if queue.name in found]
    return (
        names if dead is None or dead.messages_ready == 0 else [name for name in names if name != dead.name]
    )


def _remove(management_url: str, path: str) -> None:
    ask_management(management_url, path, method="DELETE", also_read=HTTPStatus.NOT_FOUND)
