"""What is done about nodes that do not come together."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from orderctl.native import formation
from orderctl.native.cluster import NativeCluster
from orderctl.native.formation import Formation
from orderctl.native.layout import Layout
from orderctl.native.ports import NODE_NAMES, Ports
from orderctl.progress import silent

ALL = frozenset(NODE_NAMES)
TWO = frozenset(NODE_NAMES[:2])
LAST = NODE_NAMES[2]


class PlayedCluster:
    """Three nodes of which the last is left out until it has been started again."""

    def __init__(
        self, folder: Path, view_of_last: frozenset[str], view_of_others: frozenset[str] = TWO
    ) -> None:
        self.layout = Layout(folder)
        self.ports = Ports(self.layout)
        self.done: list[tuple[str, str]] = []
        self._view_of_last = view_of_last
        self._view_of_others = view_of_others
        self.age_seconds = 3600.0

    def node_pid(self, _: str) -> int:
        return 1

    def node_age_seconds(self, _: str) -> float:
        return self.age_seconds

    def seen_by(self, node: str) -> frozenset[str]:
        if ("start", LAST) in self.done:
            return ALL
        return self._view_of_last if node == LAST else self._view_of_others

    def kill(self, node: str) -> None:
        self.done.append(("kill", node))

    def start_part(self, node: str) -> None:
        self.done.append(("start", node))

    def failure(self, node: str, what: str) -> Exception:
        return TimeoutError(f"{node} {what}")


LEFT_OUT = {
    "it takes no clients": (True, frozenset(), TWO),
    "it sees itself alone": (True, frozenset({LAST}), TWO),
    "it hangs in its boot and is taken for running": (True, frozenset(), ALL),
    "at its first start it is without the virtual host": (False, frozenset(), ALL),
}


@pytest.fixture(params=list(LEFT_OUT.values()), ids=list(LEFT_OUT))
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> PlayedCluster:
    """Two nodes run together, and the third does not join them."""
    formed, *views = request.param
    cluster = PlayedCluster(tmp_path, *views)
    cluster.layout.create()
    if formed:
        cluster.layout.formed.touch()
    return cluster


@pytest.fixture
def waits(cluster: PlayedCluster, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """The wait for that cluster, with short times."""
    monkeypatch.setattr(formation, "POLL_SECONDS", 0.001)
    return Formation(cast(NativeCluster, cluster), silent).wait


def test_a_node_that_the_others_go_on_without_is_started_again(
    cluster: PlayedCluster, waits: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frozen or cut off for long, a broker may never rejoin by itself; an operator would restart it."""
    monkeypatch.setattr(formation, "LEFT_OUT_SECONDS", 0.01)
    waits(10.0)
    assert cluster.done == [("kill", LAST), ("start", LAST)]


@pytest.mark.parametrize(("age", "patience"), [(3600.0, 45.0), (0.0, 0.01)], ids=["not long yet", "it boots"])
def test_a_node_that_may_still_come_is_left_alone(
    cluster: PlayedCluster,
    waits: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
    age: float,
    patience: float,
) -> None:
    """It has its time before anybody calls it left out."""
    monkeypatch.setattr(formation, "LEFT_OUT_SECONDS", patience)
    cluster.age_seconds = age
    with pytest.raises(TimeoutError, match=LAST):
        waits(0.05)
    assert cluster.done == []
