"""Quorum queues that nothing goes into or out of, and what `up` does about them.

A node may take clients while its part of the queues has ended for good, as after a volume without room:
members are listed as before, leaders are not. Only its restart brings them back.
"""

import shutil
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from orderctl.errors import PartFailedError
from orderctl.native import processes
from orderctl.native.layout import tail
from orderctl.native.ports import NODE_NAMES
from orderctl.progress import Progress, Step, StepState
from shared.messaging.rabbitmq.management import ManagementUnavailable, QueueRow, quorum_queues, short_name

if TYPE_CHECKING:
    from orderctl.native.cluster import NativeCluster

ELECTION_SECONDS: Final = 20.0
RECOVERY_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.5
LEAST_FREE_BYTES: Final = 100 * 1024 * 1024
_STEP: Final = "queues"


def nodes_to_restart(queues: Iterable[QueueRow]) -> list[str]:
    """The nodes whose members of queues without a leader are gone; all that hold one, if none seems gone."""
    nodes: set[str] = set()
    for queue in queues:
        if queue.is_leaderless:
            nodes |= set(queue.members) - set(queue.online) or set(queue.members)
    return sorted(map(short_name, nodes))


def mend(cluster: "NativeCluster", progress: Progress) -> list[str]:
    """Restart nodes where queues have no leader; returns those restarted. Raises PartFailedError."""
    if not _leaderless_after(cluster, ELECTION_SECONDS):
        return []
    _require_room(cluster)
    nodes = nodes_to_restart(_listed(cluster))
    for node in nodes:
        progress(Step(name=node, state=StepState.WORKING, detail="its queues have no leader: again"))
        cluster.stop_part(node)
    cluster.form(nodes)
    if names := _leaderless_after(cluster, RECOVERY_SECONDS):
        what = f"no leader of {', '.join(names)}, also after a restart of {', '.join(nodes) or 'no node'}"
        progress(Step(name=_STEP, state=StepState.FAILED, detail=what))
        log = cluster.layout.log((nodes or NODE_NAMES)[0])
        raise PartFailedError(f"{what}{_cause(cluster, nodes)}", log=log)
    progress(Step(name=_STEP, state=StepState.DONE, detail="every one has a leader again"))
    return nodes


def _listed(cluster: "NativeCluster") -> tuple[QueueRow, ...]:
    for node in NODE_NAMES:
        try:
            return quorum_queues(cluster.management_url(node))
        except ManagementUnavailable:
            continue
    return ()


def _leaderless_after(cluster: "NativeCluster", seconds: float) -> list[str]:
    """The queues that are still without a leader once there was time to elect one."""
    names: list[str] = []

    def all_led() -> bool:
        nonlocal names
        names = [queue.name for queue in _listed(cluster) if queue.is_leaderless]
        return not names

    processes.wait_until(all_led, seconds, POLL_SECONDS)
    return names


def _require_room(cluster: "NativeCluster") -> None:
    """A restart without room would end as before."""
    free_bytes = shutil.disk_usage(cluster.layout.data_dir).free
    if free_bytes < LEAST_FREE_BYTES:
        room = f"{free_bytes // 1024**2} MiB are free in {cluster.layout.data_dir}"
        what = f"queues have no leader, and only {room}"
        raise PartFailedError(what, advice="make room, then: orderctl up")


def _cause(cluster: "NativeCluster", nodes: Iterable[str]) -> str:
    """What the nodes' own logs give as the reason, where it is one that is known."""
    logs = {node: tail(cluster.layout.log(node), 500) for node in nodes}
    no_room = [node for node, lines in logs.items() if any("enospc" in line for line in lines)]
    return f": no room was left on the volume of {', '.join(no_room)}" if no_room else ""
