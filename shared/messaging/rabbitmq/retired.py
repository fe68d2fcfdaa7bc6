"""Taking queues of earlier versions out, whose consumers now follow the log of steps.

What such a queue holds is in the log and in the records of orders, from which its consumer makes up for it.
Its binding goes first, so that nothing fills it. A consumer of the earlier version that runs yet would make
the queue again if it lost it, so the queue goes once nothing consumes it: by the next ``orderctl up`` or run
of the Job, if not by this one. Dead letters stay until the operator has seen to them.
"""

from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from shared.messaging.rabbitmq.management import QueueRow, ask_management, list_queues
from shared.pipeline import RETIRED, bindings, queues

QUEUES: Final = frozenset(queue.name for queue in queues(RETIRED))
_DEAD: Final = frozenset(each.dead_queue for each in RETIRED)


def remove_retired(management_url: str, vhost: str) -> None:
    """Again, and nothing changes; asked as the operator. Raises ManagementUnavailable."""
    place = quote(vhost, safe="")
    for each in bindings(RETIRED):
        key = quote(each.routing_key, safe="").replace("*", "%2A")
        _remove(management_url, f"/api/bindings/{place}/e/{each.exchange}/q/{each.queue}/{key}")
    for queue in list_queues(management_url, vhost=vhost):
        if queue.name in QUEUES and _is_done_with(queue):
            _remove(management_url, f"/api/queues/{place}/{queue.name}")


def _is_done_with(queue: QueueRow) -> bool:
    """What is not known yet, as after a start of the brokers, is no reason to remove it."""
    letters = queue.messages_ready if queue.name in _DEAD else 0
    return queue.consumers == 0 and letters == 0


def _remove(management_url: str, path: str) -> None:
    ask_management(management_url, path, method="DELETE", also_read=HTTPStatus.NOT_FOUND)
