"""What the brokers say of their queues, by whichever of them answers."""

from collections.abc import Sequence
from typing import Final

from orderctl.system import SystemStatus
from shared.messaging.rabbitmq.management import ManagementClient, QueueRow, short_name
from shared.pipeline import QUORUM_SIZE

ANSWER_SECONDS: Final = 3.0
VHOST: Final = "/"


def management_urls(status: SystemStatus) -> Sequence[str]:
    """Where the brokers that run can be asked."""
    return [node.management_url for node in status.rabbitmq if node.running and node.management_url]


async def look_at_queue(urls: Sequence[str], queue: str) -> QueueRow | None:
    """The queue as the cluster has it; None where no broker tells, or none has such a queue."""
    client = ManagementClient(urls, vhost=VHOST, timeout_seconds=ANSWER_SECONDS, members_needed=QUORUM_SIZE)
    queues = (await client.observe()).queues or ()
    return next((row for row in queues if row.name == queue), None)


async def messages_in(urls: Sequence[str], queue: str) -> int | None:
    """How many messages a queue held some seconds ago, delivered ones included; None where not told."""
    row = await look_at_queue(urls, queue)
    if row is None or row.messages_ready is None or row.messages_unacknowledged is None:
        return None
    return row.messages_ready + row.messages_unacknowledged


async def leader_of(urls: Sequence[str], queue: str) -> str | None:
    """The name by which we know the node that leads a queue; None where no broker tells."""
    row = await look_at_queue(urls, queue)
    return None if row is None or row.leader is None else short_name(row.leader)
