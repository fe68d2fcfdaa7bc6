"""Judging how the brokers are, from what each endpoint says of itself and the cluster says of all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from dashboard.overview.state import NodeState, NodeStatus, QueueState
from shared.messaging.rabbitmq.management import NodeRow, Observation, Probe, QueueRow
from shared.pipeline import CONSUMPTIONS, ORDERS_EXCHANGE, QUORUM_SIZE

INTAKES: Final = tuple(each for each in CONSUMPTIONS if each.exchange is ORDERS_EXCHANGE)
"""Who consumes orders before they are decided."""
CONSUMER_ROUNDS: Final = 4
"""Longer than the brokers take to count consumers anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knowledge:
    """What is known after some rounds of questions.

    ``owners`` says which node each endpoint belongs to, learned while it answered. ``fresh`` is whether the
    cluster told about its nodes in the last round, or ``rows`` are from before. ``consumers`` are the last
    counts of each queue's.
    """

    probes: Sequence[Probe] = ()
    owners: Mapping[str, str]
    rows: Sequence[NodeRow] = ()
    fresh: bool = False
    queues: Sequence[QueueRow] = ()
    consumers: Mapping[str, Sequence[int]] = field(default_factory=dict)
    members_needed: int = QUORUM_SIZE

    @classmethod
    def nothing(cls) -> "Knowledge":
        """Before the first round."""
        return cls(owners={})

    def after(self, seen: Observation) -> "Knowledge":
        """What is known once ``seen`` has been seen too."""
        return Knowledge(
            probes=seen.probes,
            owners={
                **self.owners,
                **{probe.endpoint: probe.node for probe in seen.probes if probe.node is not None},
            },
            rows=self.rows if seen.nodes is None else seen.nodes,
            fresh=seen.nodes is not None,
            queues=self.queues if seen.queues is None else seen.queues,
            consumers=self.consumers
            if seen.queues is None
            else {
                queue.name: [*self.consumers.get(queue.name, ()), queue.consumers][-CONSUMER_ROUNDS:]
                for queue in seen.queues
                if queue.consumers is not None
            },
            members_needed=seen.members_needed,
        )


def judge_nodes(known: Knowledge) -> list[NodeState]:
    """The state of every node that the cluster has named, or of every endpoint before it has named any."""
    if known.rows:
        return sorted((_judged(row, known) for row in known.rows), key=lambda state: state.node)
    return [
        NodeState(node=known.owners.get(probe.endpoint, probe.endpoint), status=_by_probe(probe, known))
        for probe in known.probes
    ]


def queue_states(known: Knowledge) -> dict[str, QueueState]:
    """The queues by name."""
    return {
        row.name: QueueState(
            name=row.name,
            ready=row.messages_ready,
            unacked=row.messages_unacknowledged,
            consumers=_lasting(known.consumers.get(row.name, ())),
            members=row.members,
            online=row.online,
            leader=row.leader,
            is_leaderless=row.is_leaderless,
        )
        for row in known.queues
    }


def with_letters(queues: Mapping[str, QueueState], counted: Mapping[str, int]) -> dict[str, QueueState]:
    """The queues with these counts of dead letters, none of which is out, in the place of older ones."""
    return {
        name: replace(queue, ready=counted[name], unacked=0) if name in counted else queue
        for name, queue in queues.items()
    }


def _lasting(counts: Sequence[int]) -> int | None:
    """How many consumers a queue has had for a while.

    Brokers count every few seconds: one that moves to a new channel may be counted twice for as long, or not
    at all where it has just come. None while a count of 0 has not lasted.
    """
    some = [count for count in counts if count]
    return min(some) if some else 0 if len(counts) == CONSUMER_ROUNDS else None


def silence(known: Knowledge) -> dict[str, str]:
    """Why endpoints did not answer in the last round, by endpoint."""
    return {probe.endpoint: probe.fault for probe in known.probes if probe.fault is not None}


def _judged(row: NodeRow, known: Knowledge) -> NodeState:
    status = _status(row, known)
    if status is NodeStatus.UNKNOWN or not row.running:
        return NodeState(node=row.name, status=status)
    alarms = {"memory": row.mem_alarm, "disk": row.disk_free_alarm, "partition": bool(row.partitions)}
    return NodeState(
        node=row.name,
        status=status,
        alarms=[name for name, raised in alarms.items() if raised],
        memory_bytes=row.mem_used,
        memory_limit_bytes=row.mem_limit,
        uptime_seconds=None if row.uptime is None else row.uptime / 1000,
    )


def _status(row: NodeRow, known: Knowledge) -> NodeStatus:
    if _nobody_answers(known):
        return NodeStatus.UNKNOWN
    own = [probe.fault is None for probe in known.probes if known.owners.get(probe.endpoint) == row.name]
    if known.fresh and not row.running:
        return NodeStatus.UNREACHABLE if any(own) else NodeStatus.NOT_RUNNING
    if own:
        return NodeStatus.RUNNING if any(own) else NodeStatus.UNREACHABLE
    return NodeStatus.RUNNING if known.fresh else NodeStatus.UNKNOWN


def _by_probe(probe: Probe, known: Knowledge) -> NodeStatus:
    if _nobody_answers(known):
        return NodeStatus.UNKNOWN
    return NodeStatus.RUNNING if probe.fault is None else NodeStatus.UNREACHABLE


def _nobody_answers(known: Knowledge) -> bool:
    return all(probe.fault is not None for probe in known.probes)
