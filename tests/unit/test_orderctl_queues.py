"""Queues without a leader are seen for what they are, and `up` restarts the nodes that have lost them."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from orderctl.errors import PartFailedError
from orderctl.native import queues
from orderctl.native.cluster import NativeCluster
from orderctl.native.queues import mend, nodes_to_restart
from orderctl.progress import silent
from shared.messaging.rabbitmq.management import ManagementUnavailable, QueueRow

NODES = ("rabbitmq1@localhost", "rabbitmq2@localhost", "rabbitmq3@localhost")


def queue(
    name: str = "orders.queue",
    *,
    online: Sequence[str] = NODES,
    leader: str | None = NODES[0],
    state: str = "running",
) -> QueueRow:
    """A quorum queue as the cluster lists it."""
    return QueueRow(name=name, members=NODES, online=tuple(online), leader=leader, state=state, type="quorum")


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ([queue()], []),
        ([queue(online=NODES[:2])], []),
        ([queue(online=NODES[:1], leader=None)], ["rabbitmq2", "rabbitmq3"]),
        ([queue(online=NODES[:1])], ["rabbitmq2", "rabbitmq3"]),
        ([queue(leader=None, state="down")], ["rabbitmq1", "rabbitmq2", "rabbitmq3"]),
        ([queue(state="minority", online=NODES[1:2])], ["rabbitmq1", "rabbitmq3"]),
        ([queue(online=(), leader=None, state="stopped")], ["rabbitmq1", "rabbitmq2", "rabbitmq3"]),
        ([queue("a"), queue("b", online=NODES[:1], leader=None)], ["rabbitmq2", "rabbitmq3"]),
    ],
)
def test_the_nodes_whose_members_are_gone_are_restarted(listed: list[QueueRow], expected: list[str]) -> None:
    """Three members in the list are not three that live; one that is away for a moment is no reason."""
    assert nodes_to_restart(listed) == expected


class Ailing(NativeCluster):
    """A cluster that is only told of: its queues are as the next listing says."""

    def __init__(self, folder: Path, *listings: list[QueueRow]) -> None:
        super().__init__(folder)
        self.layout.create()
        self.listings = list(listings)
        self.stopped: list[str] = []
        self.formed: list[str] = []

    def stop_part(self, name: str) -> bool:
        """Note it."""
        self.stopped.append(name)
        return True

    def form(self, missing: list[str], timeout_seconds: float = 0.0) -> None:
        """Note it; the restart brings on the next listing."""
        self.formed = list(missing)
        self.listings.pop(0)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time for elections."""
    monkeypatch.setattr(queues, "ELECTION_SECONDS", 0.0)
    monkeypatch.setattr(queues, "RECOVERY_SECONDS", 0.0)


def ailing(monkeypatch: pytest.MonkeyPatch, folder: Path, *listings: list[QueueRow]) -> Ailing:
    """The cluster, whose first node does not answer for itself."""
    cluster = Ailing(folder, *listings)

    def listed(url: str) -> tuple[QueueRow, ...]:
        if url == cluster.management_url("rabbitmq1"):
            raise ManagementUnavailable("it answered 500")
        return tuple(cluster.listings[0])

    monkeypatch.setattr(queues, "quorum_queues", listed)
    return cluster


def test_up_restarts_what_has_lost_its_queues(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Afterwards each has a leader."""
    cluster = ailing(monkeypatch, tmp_path, [queue(online=NODES[:1], leader=None)], [queue()])
    assert mend(cluster, silent) == ["rabbitmq2", "rabbitmq3"] == cluster.stopped == cluster.formed


def test_queues_with_leaders_are_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A second `up` restarts nothing."""
    cluster = ailing(monkeypatch, tmp_path, [queue(online=NODES[:2])])
    assert mend(cluster, silent) == cluster.stopped == []


def test_what_a_restart_does_not_mend_is_said_with_its_cause(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One line: which queues, what was tried, and what the broker's own log gives as the reason."""
    lost = [queue(online=NODES[:1], leader=None)]
    cluster = ailing(monkeypatch, tmp_path, lost, lost)
    cluster.layout.log("rabbitmq2").write_text("** Reason: {bad_return_value,{error,enospc}}\n", "utf-8")
    with pytest.raises(PartFailedError, match=r"no leader of orders\.queue.*no room.*volume of rabbitmq2"):
        mend(cluster, silent)


def test_without_room_nothing_is_restarted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It would end as before; the line says how much is free, and where."""
    monkeypatch.setattr(queues, "LEAST_FREE_BYTES", 1 << 60)
    cluster = ailing(monkeypatch, tmp_path, [queue(online=NODES[:1], leader=None)])
    with pytest.raises(PartFailedError, match=str(tmp_path)):
        mend(cluster, silent)
    assert cluster.stopped == []
