"""The private cluster survives whatever is done to its processes, and leaves none behind."""

from collections.abc import Iterator

import psutil
import pytest

from orderctl.native import processes, redis
from orderctl.native.cluster import PARTS, NativeCluster
from orderctl.native.ports import NODE_NAMES
from shared.messaging.rabbitmq.management import ask_management, list_queues, quorum_queues, short_name
from shared.messaging.rabbitmq.rights import OPERATOR, USERS
from tests.harness.running import Pipeline

pytestmark = [pytest.mark.broker, pytest.mark.native]

STAMP_LENGTH = len("2026-11-28 05:09:53.017878")
OWN_QUEUES = {"early.bird", "kept.queue"}
ARGUMENTS = {"x-queue-type": "quorum", "x-quorum-initial-group-size": 1}


@pytest.fixture(scope="module")
def alone(running_pipeline: Pipeline) -> Iterator[NativeCluster]:
    """The cluster of all tests, without its services; these tests break it and leave it whole."""
    cluster = running_pipeline.cluster
    assert isinstance(cluster, NativeCluster)
    running_pipeline.stop_all()
    yield cluster
    cluster.start()
    for name in OWN_QUEUES & queue_names(cluster):
        ask_management(cluster.management_url("rabbitmq1"), f"/api/queues/%2F/{name}", 10.0, "DELETE")


@pytest.fixture
def whole(alone: NativeCluster) -> NativeCluster:
    """What the test before has ended is back."""
    alone.start()
    return alone


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


def test_recorded_pids_are_the_servers_themselves(whole: NativeCluster) -> None:
    """A signal to a recorded pid reaches the broker or Redis, not a shell around it."""
    programs = {name: psutil.Process(whole.node_pid(name)).name() for name in PARTS}
    stores = {"redis": "redis-server", "cache": "redis-server", "postgres": "postgres"}
    assert programs == {**dict.fromkeys(NODE_NAMES, "beam.smp"), **stores}


def test_the_first_node_served_before_any_other_started(whole: NativeCluster) -> None:
    """A node that booted while another made the virtual host would never serve (RabbitMQ 3.10)."""
    founder, *others = (whole.layout.log(node).read_text(encoding="utf-8") for node in NODE_NAMES)
    served = next(line for line in founder.splitlines() if "Server startup complete" in line)
    assert all(served[:STAMP_LENGTH] < other[:STAMP_LENGTH] for other in others)


def test_starting_twice_changes_nothing(whole: NativeCluster) -> None:
    """A second start finds everything running and leaves it."""
    before = {name: whole.node_pid(name) for name in PARTS}
    whole.start()
    assert {name: whole.node_pid(name) for name in PARTS} == before


def test_a_server_whose_record_was_lost_is_adopted(whole: NativeCluster) -> None:
    """A command that was killed between starting and writing down leads to no second server."""
    before = whole.node_pid("rabbitmq2")
    whole.layout.record("rabbitmq2").unlink()
    whole.start()
    assert whole.node_pid("rabbitmq2") == before


def test_a_killed_node_comes_back_on_its_ports_again_and_again(whole: NativeCluster) -> None:
    """SIGKILL and start work repeatedly, and nobody has to learn a new address."""
    urls = whole.rabbitmq_urls
    for _ in range(2):
        assert whole.kill("rabbitmq2")
        assert "rabbitmq2" not in whole.running_nodes()
        whole.start_part("rabbitmq2")
        whole.wait_running()
    assert whole.rabbitmq_urls == urls


def test_after_all_were_killed_none_serves_alone(whole: NativeCluster) -> None:
    """The first node back says whom it waits for; together they form the cluster that they were."""
    for node in NODE_NAMES:
        whole.kill(node)
    whole.start_part("rabbitmq1")
    assert whole.missing_peers("rabbitmq1") == ["rabbitmq2", "rabbitmq3"]
    whole.start_part("rabbitmq2")
    assert whole.running_nodes() == frozenset()
    whole.start()
    assert whole.running_nodes() == frozenset(NODE_NAMES)


def test_a_queue_with_one_member_is_grown_to_three(whole: NativeCluster) -> None:
    """A queue that was declared too early survives the loss of a node after the next start."""
    declare_alone(whole, "early.bird")
    assert members_of(whole, "early.bird") == {"rabbitmq1"}
    assert whole.grow_queues() == ["early.bird"]
    assert members_of(whole, "early.bird") == set(NODE_NAMES)


def test_brokers_that_know_guest_alone_let_the_others_in(whole: NativeCluster) -> None:
    """A data folder of before there were users is brought up as it runs; guest is nobody afterwards."""
    url = whole.management_url("rabbitmq1")
    everything = dict.fromkeys(("configure", "write", "read"), ".*")
    ask_management(url, "/api/users/guest", 10.0, "PUT", {"password": "guest", "tags": "administrator"})
    ask_management(url, "/api/permissions/%2F/guest", 10.0, "PUT", everything)
    for user in (*USERS, OPERATOR):
        ask_management(url, f"/api/users/{user}", 10.0, "DELETE")
    whole.start()
    known = ask_management(url, "/api/users?columns=name", 10.0)
    names = {user["name"] for user in known}
    assert names >= {OPERATOR, *USERS}
    assert "guest" not in names


def test_redis_keeps_what_it_acknowledged(whole: NativeCluster) -> None:
    """A key that was set a moment before SIGKILL is there after the start."""
    assert redis.differing(whole.redis_url, redis.DURABLE) == []
    assert redis.ask(whole.redis_url, "SET", "kept", "yes").startswith("+OK")
    whole.kill("redis")
    whole.start_part("redis")
    whole.wait_store("redis")
    assert "yes" in redis.ask(whole.redis_url, "GET", "kept")


def test_stopping_leaves_no_process_and_loses_no_data(whole: NativeCluster) -> None:
    """Nothing of ours runs after a stop, epmd included, and the next start finds queues and keys."""
    declare_alone(whole, "kept.queue")
    redis.ask(whole.redis_url, "SET", "kept", "still")
    whole.stop()
    assert processes.owned_by(whole.layout) == []
    whole.start()
    assert "kept.queue" in queue_names(whole)
    assert "still" in redis.ask(whole.redis_url, "GET", "kept")
