"""Judging broker nodes from what they say of themselves and of one another."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dashboard.overview.attention import dead_letters
from dashboard.overview.brokers import Knowledge, judge_nodes, queue_states
from dashboard.overview.state import NodeStatus
from dashboard.overview.watch import BrokerWatch
from shared.messaging.memory import MemoryBroker
from shared.messaging.ports import OutgoingMessage
from shared.messaging.rabbitmq.management import NodeRow, Observation, Probe, QueueRow
from shared.pipeline import CONSUMPTIONS, ORDER_PROCESSOR

NAMES = ("a@localhost", "b@localhost", "c@localhost")
DEAD = ORDER_PROCESSOR.dead_queue
RUNNING, NOT_RUNNING = NodeStatus.RUNNING, NodeStatus.NOT_RUNNING
UNREACHABLE, UNKNOWN = NodeStatus.UNREACHABLE, NodeStatus.UNKNOWN


def seen(answering: str, listed: str | None) -> Observation:
    """A round in which the endpoints of ``answering`` (such as "ac") answer.

    ``listed`` has the letters of the nodes that the cluster lists as running; None where it did not tell.
    """
    return Observation(
        probes=[
            Probe(
                endpoint=f"host-{name[0]}:15672",
                node=name if name[0] in answering else None,
                fault=None if name[0] in answering else "connection refused",
            )
            for name in NAMES
        ],
        nodes=None if listed is None else tuple(NodeRow(name, running=name[0] in listed) for name in NAMES),
        queues=None if listed is None else (QueueRow("orders.queue", consumers=1),),
        members_needed=3,
    )


def judged(*rounds: Observation) -> list[NodeStatus]:
    """The states of a, b and c after these rounds."""
    known = Knowledge.nothing()
    for observation in rounds:
        known = known.after(observation)
    return [state.status for state in judge_nodes(known)]


@pytest.mark.parametrize(
    ("answering", "listed", "states"),
    [
        ("abc", "abc", [RUNNING, RUNNING, RUNNING]),
        ("ac", "ac", [RUNNING, NOT_RUNNING, RUNNING]),
        ("ac", "abc", [RUNNING, UNREACHABLE, RUNNING]),
        ("abc", "ac", [RUNNING, UNREACHABLE, RUNNING]),
        ("ac", None, [RUNNING, UNREACHABLE, RUNNING]),
        ("c", None, [UNREACHABLE, UNREACHABLE, RUNNING]),
        ("", None, [UNKNOWN, UNKNOWN, UNKNOWN]),
    ],
)
def test_a_node_is_judged_by_itself_and_by_its_peers(
    answering: str, listed: str | None, states: list[NodeStatus]
) -> None:
    """Down when its peers say so; unreachable when only one side does; unknown when nobody answers."""
    assert judged(seen("abc", "abc"), seen(answering, listed)) == states


def test_a_dashboard_that_starts_late_judges_too() -> None:
    """Which endpoint belongs to a dead node was never learned; the list of its peers is enough."""
    assert judged(seen("ac", "ac")) == [RUNNING, NOT_RUNNING, RUNNING]


def test_before_the_cluster_has_told_endpoints_stand_for_nodes() -> None:
    """As at a start while a node is frozen and the others hang on every question about the cluster."""
    states = judge_nodes(Knowledge.nothing().after(seen("ac", None)))
    assert [(state.node, state.status) for state in states] == [
        ("a@localhost", RUNNING),
        ("host-b:15672", UNREACHABLE),
        ("c@localhost", RUNNING),
    ]


def test_alarms_are_those_of_nodes_that_run() -> None:
    """Memory, disk and partition; the last known alarm of a dead node is not shown for ever."""
    rows = (
        NodeRow("a@localhost", running=True, mem_alarm=True, disk_free_alarm=True),
        NodeRow("b@localhost", running=True, partitions=("a@localhost",)),
        NodeRow("c@localhost", running=False, mem_alarm=True),
    )
    probes = seen("abc", None).probes
    known = Knowledge.nothing().after(Observation(probes=probes, nodes=rows, queues=(), members_needed=3))
    assert [list(state.alarms) for state in judge_nodes(known)] == [["memory", "disk"], ["partition"], []]


class Rounds:
    """A management interface that has one observation for each round."""

    def __init__(self, *rounds: Observation) -> None:
        self._rounds = list(rounds)

    async def observe(self) -> Observation:
        """See the port."""
        return self._rounds.pop(0)


async def test_the_last_figures_are_kept_with_their_age() -> None:
    """While the cluster does not tell, its queues are shown as they were, and how long ago that was."""
    clock = iter([100.0, 107.5])
    watch = BrokerWatch(
        Rounds(seen("abc", "abc"), seen("", None)), pause_seconds=1.0, monotonic=lambda: next(clock)
    )
    assert watch.state().age_seconds is None
    assert watch.unready_reason() == "not asked yet"
    await watch.look()
    await watch.look()
    state = watch.state()
    assert watch.unready_reason() is None
    assert state.age_seconds == 7.5
    assert state.queues["orders.queue"].consumers == 1
    assert set(state.silence.values()) == {"connection refused"}


async def test_dead_letters_are_those_of_this_moment() -> None:
    """What the cluster tells of its queues is seconds old; it stands while letters cannot be counted."""
    broker = MemoryBroker()
    stale = tuple(QueueRow(each.dead_queue, messages_ready=7) for each in CONSUMPTIONS)
    watch = BrokerWatch(Rounds(replace(seen("abc", "abc"), queues=stale)), letters=broker, pause_seconds=1.0)
    await watch.look()
    await broker.publish(OutgoingMessage(exchange="", routing_key=DEAD, body=b"poison", headers={}))
    await watch.count()
    assert dead_letters(watch.state(), DEAD) == 1
    broker.go_down()
    await watch.count()
    assert dead_letters(watch.state(), DEAD) == 7


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ((1,), 1),
        ((1, 2, 2, 1), 1),
        ((1, 1, 2, 2, 2, 2), 2),
        ((0,), None),
        ((0, 0, 1), 1),
        ((1, 0, 1), 1),
        ((1, 0, 0, 0, 0), 0),
        ((3, 2), 2),
    ],
    ids=["one", "renewed", "one more", "just up", "just come", "moved", "gone", "fewer"],
)
def test_a_consumer_that_moves_is_one(counts: Sequence[int], shown: int | None) -> None:
    """It may be counted twice or not at all for a while; what lasts is shown."""
    known = Knowledge.nothing()
    for count in counts:
        queues = (QueueRow("orders.queue", consumers=count),)
        known = known.after(replace(seen("abc", "abc"), queues=queues))
    assert queue_states(known)["orders.queue"].consumers == shown
