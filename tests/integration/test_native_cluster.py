"""The private cluster survives whatever is done to its processes, and leaves none behind."""

from collections.abc import Iterator

import psutil
import pytest

from orderctl.native import processes, redis
from orderctl.native.cluster import PARTS, NativeCluster
from orderctl.native.ports import NODE_NAMES
from shared.messaging.rabbitmq.management import ask_management, list_queues, quorum_queues, short_name
from tests.harness.native_cluster import native_cluster

pytestmark = [pytest.mark.broker, pytest.mark.native]

ARGUMENTS = {"x-queue-type": "quorum", "x-quorum-initial-group-size": 1}


@pytest.fixture(scope="module")
def cluster() -> Iterator[NativeCluster]:
    """A cluster that these tests may break; each of them finds it whole."""
    with native_cluster() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def whole(cluster: NativeCluster) -> None:
    """Bring back what the test before has ended."""
    cluster.start()


def declare_alone(cluster: NativeCluster, name: str) -> None:
    """Declare a quorum queue with one member, as happens before a cluster has formed."""
    url, body = cluster.management_url("rabbitmq1"), {"durable": True, "arguments": ARGUMENTS}
    assert ask_management(url, f"/api/queues/%2F/{name}", 10.0, "PUT", body) is None


def queue_names(cluster: NativeCluster) -> set[str]:
    """The queues that the cluster knows."""
    return {queue.name for queue in list_queues(cluster.management_url("rabbitmq1"))}


def members_of(cluster: NativeCluster, name: str) -> set[str]:
    """The nodes that hold a queue."""
    queues = {queue.name: queue for queue in quorum_queues(cluster.management_url("rabbitmq1"))}
    return set(map(short_name, queues[name].members))


def test_recorded_pids_are_the_servers_themselves(cluster: NativeCluster) -> None:
    """A signal to a recorded pid reaches the broker or Redis, not a shell around it."""
    programs = {name: psutil.Process(cluster.node_pid(name)).name() for name in PARTS}
    stores = {"redis": "redis-server", "cache": "redis-server", "postgres": "postgres"}
    assert programs == {**dict.fromkeys(NODE_NAMES, "beam.smp"), **stores}


def test_starting_twice_changes_nothing(cluster: NativeCluster) -> None:
    """A second start finds everything running and leaves it."""
    before = {name: cluster.node_pid(name) for name in PARTS}
    cluster.start()
    assert {name: cluster.node_pid(name) for name in PARTS} == before


def test_a_server_whose_record_was_lost_is_adopted(cluster: NativeCluster) -> None:
    """A command that was killed between starting and writing down leads to no second server."""
    before = cluster.node_pid("rabbitmq2")
    cluster.layout.record("rabbitmq2").unlink()
    cluster.start()
    assert cluster.node_pid("rabbitmq2") == before


def test_a_killed_node_comes_back_on_its_ports_again_and_again(cluster: NativeCluster) -> None:
    """SIGKILL and start work repeatedly, and nobody has to learn a new address."""
    urls = cluster.rabbitmq_urls
    for _ in range(2):
        assert cluster.kill("rabbitmq2")
        assert "rabbitmq2" not in cluster.running_nodes()
        cluster.start_part("rabbitmq2")
        cluster.wait_running()
    assert cluster.rabbitmq_urls == urls


def test_after_all_were_killed_none_serves_alone(cluster: NativeCluster) -> None:
    """The first node back says whom it waits for; together they form the cluster that they were."""
    for node in NODE_NAMES:
        cluster.kill(node)
    cluster.start_part("rabbitmq1")
    assert cluster.missing_peers("rabbitmq1") == ["rabbitmq2", "rabbitmq3"]
    cluster.start_part("rabbitmq2")
    assert cluster.running_nodes() == frozenset()
    cluster.start()
    assert cluster.running_nodes() == frozenset(NODE_NAMES)


def test_a_queue_with_one_member_is_grown_to_three(cluster: NativeCluster) -> None:
    """A queue that was declared too early survives the loss of a node after the next start."""
    declare_alone(cluster, "early.bird")
    assert members_of(cluster, "early.bird") == {"rabbitmq1"}
    assert cluster.grow_queues() == ["early.bird"]
    assert members_of(cluster, "early.bird") == set(NODE_NAMES)


def test_redis_keeps_what_it_acknowledged(cluster: NativeCluster) -> None:
    """A key that was set a moment before SIGKILL is there after the start."""
    port = cluster.ports["redis"]
    assert redis.differing(port, redis.DURABLE) == []
    assert redis.ask(port, "SET", "kept", "yes").startswith("+OK")
    cluster.kill("redis")
    cluster.start_part("redis")
    cluster.wait_store("redis")
    assert "yes" in redis.ask(port, "GET", "kept")


def test_stopping_leaves_no_process_and_loses_no_data(cluster: NativeCluster) -> None:
    """Nothing of ours runs after a stop, epmd included, and the next start finds queues and keys."""
    declare_alone(cluster, "kept.queue")
    redis.ask(cluster.ports["redis"], "SET", "kept", "still")
    cluster.stop()
    assert processes.owned_by(cluster.layout) == []
    cluster.start()
    assert "kept.queue" in queue_names(cluster)
    assert "still" in redis.ask(cluster.ports["redis"], "GET", "kept")
