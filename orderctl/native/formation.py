"""The wait for three nodes to run in one cluster, and what is done about those that do not.

Nothing may be declared before all three run together: a queue declared earlier keeps one member for ever.
A node that ends meanwhile is started again, a few times. Two nodes that came up as clusters of their own,
which a first start side by side can bring about, hold no data yet: all but the first start over. A node that
was frozen or cut off for long may wait for ever for peers that went on without it, or be back with a
partition noted against it: it is started again.
"""

import shutil
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from orderctl.native import rabbitmq
from orderctl.native.ports import NODE_NAMES
from orderctl.progress import Progress, Step, StepState

if TYPE_CHECKING:
    from orderctl.native.cluster import NativeCluster

POLL_SECONDS = 0.25
RESTARTS_PER_NODE = 3
SPLIT_SECONDS = 5.0
LEFT_OUT_SECONDS = 45.0

Views = Mapping[str, frozenset[str]]


def left_out(views: Views) -> str | None:
    """The node that the two others run without, or None where that is not how things stand.

    Two run together where each sees the other: one that hangs while it boots may be seen as running.
    """
    mutual = {node: {peer for peer in view if node in views[peer]} for node, view in views.items()}
    together = [node for node, peers in mutual.items() if len(peers) == len(views) - 1]
    return next(iter(views.keys() - together)) if len(together) == len(views) - 1 else None


class Formation:
    """One wait for the whole cluster; `views` are what each node sees running."""

    def __init__(self, cluster: "NativeCluster", progress: Progress) -> None:
        self._cluster = cluster
        self._progress = progress
        self._restarts: Counter[str] = Counter()
        self._split_since: float | None = None
        self._left_out_since: dict[str, float] = {}
        self._restarted: set[str] = set()
        self._done: set[str] = set()

    def wait(self, timeout_seconds: float) -> None:
        """Return once each node sees all three; raises PartFailedError."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            views = {node: self._cluster.seen_by(node) for node in NODE_NAMES}
            self._report(views)
            if all(len(view) == len(NODE_NAMES) for view in views.values()):
                self._cluster.layout.formed.touch()
                return
            self._restart_ended()
            self._join_split(views)
            if self._restart_left_out(views):
                deadline = time.monotonic() + timeout_seconds
            if time.monotonic() >= deadline:
                slowest = min(NODE_NAMES, key=lambda node: len(views[node]))
                raise self._cluster.failure(slowest, f"not in the cluster after {timeout_seconds:.0f} s")
            time.sleep(POLL_SECONDS)

    def _report(self, views: Views) -> None:
        for node, view in views.items():
            if len(view) == len(NODE_NAMES):
                if node not in self._done:
                    self._done.add(node)
                    detail = f"127.0.0.1:{self._cluster.ports[f'{node}.amqp']}"
                    self._progress(Step(name=node, state=StepState.DONE, detail=detail))
            else:
                self._done.discard(node)
                others = ", ".join(peer for peer in NODE_NAMES if peer not in view)
                detail = f"runs, waits for {others}" if view else "booting"
                self._progress(Step(name=node, state=StepState.WORKING, detail=detail))

    def _restart_ended(self) -> None:
        for node in NODE_NAMES:
            if self._cluster.node_pid(node) is None or rabbitmq.gave_up(self._cluster.layout, node):
                if self._restarts[node] == RESTARTS_PER_NODE:
                    raise self._cluster.failure(node, f"ended {RESTARTS_PER_NODE + 1} times")
                self._restarts[node] += 1
                self._progress(Step(name=node, state=StepState.WORKING, detail="ended, starting it again"))
                self._cluster.start_part(node)

    def _join_split(self, views: Views) -> None:
        """Let nodes that formed clusters of their own start over, if no cluster ever held data here."""
        apart = all(views.values()) and len(set(views.values())) > 1
        if not apart or self._cluster.layout.formed.exists():
            self._split_since = None
            return
        self._split_since = self._split_since or time.monotonic()
        if time.monotonic() - self._split_since < SPLIT_SECONDS:
            return
        self._split_since = None
        for node in set(NODE_NAMES) - views[NODE_NAMES[0]]:
            self._progress(
                Step(name=node, state=StepState.WORKING, detail="formed a cluster of its own: again")
            )
            self._cluster.stop_part(node)
            shutil.rmtree(self._cluster.layout.part(node) / "data", ignore_errors=True)
            self._cluster.start_part(node)

    def _restart_left_out(self, views: Views) -> bool:
        """Start a node again, once, that the two others have been running without for long; True if it was.

        Its time begins with its process: one that was started lately may be recovering its queues.
        """
        node = left_out(views)
        self._left_out_since = {node: self._left_out_since.get(node, time.monotonic())} if node else {}
        if node is None or node in self._restarted:
            return False
        waited = time.monotonic() - self._left_out_since[node]
        if min(waited, self._cluster.node_age_seconds(node)) < LEFT_OUT_SECONDS:
            return False
        self._restarted.add(node)
        self._progress(Step(name=node, state=StepState.WORKING, detail="does not rejoin: again"))
        self._cluster.kill(node)
        self._cluster.start_part(node)
        return True
