"""What the dashboard is told about the in-memory broker, in the words that a cluster has for itself."""

import time
from collections.abc import Callable

from orderctl.embedded import NODE
from shared.messaging.memory import MemoryBroker
from shared.messaging.rabbitmq.management import NodeRow, Observation, Probe, QueueRow
from shared.pipeline import queues


class MemoryManagement:
    """One node that is up as long as anybody can ask, and queues of one member."""

    def __init__(self, broker: MemoryBroker, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._broker = broker
        self._monotonic = monotonic
        self._began = monotonic()

    async def observe(self) -> Observation:
        uptime = round((self._monotonic() - self._began) * 1000)
        return Observation(
            probes=[Probe(endpoint=NODE, node=NODE, fault=None)],
            nodes=[NodeRow(name=NODE, running=self._broker.unready_reason() is None, uptime=uptime)],
            queues=[self._row(queue.name) for queue in queues()],
            members_needed=1,
        )

    def _row(self, queue: str) -> QueueRow:
        return QueueRow(
            name=queue,
            messages_ready=self._broker.depth(queue),
            messages_unacknowledged=self._broker.unacked(queue),
            consumers=self._broker.consumers(queue),
            members=(NODE,),
            online=(NODE,),
            leader=NODE,
        )
