"""What a rolling upgrade in containers replaces, and what it holds against those that end."""

from pathlib import Path

import pytest

from orderctl.system import Mode
from tests.chaos.rolling import changed_parts, copy_of_this_tree, faults_of
from tests.chaos.upgrade import ORDER, stage_of
from tests.harness.clusters import PARTS
from tests.harness.composed import Ending, published


def ending(**told: float) -> Ending:
    """A container's end, a good one where nothing else is told."""
    return Ending(
        service="notifier",
        exit_code=int(told.get("exit_code", 0)),
        seconds=told.get("seconds", 2.0),
        grace_seconds=30,
    )


@pytest.mark.parametrize("told", [{"exit_code": 137}, {"exit_code": 1}, {"seconds": 30.2}])
def test_a_container_that_does_not_end_by_itself_in_time_is_a_fault(told: dict[str, float]) -> None:
    """Killed, failed, or slower than its grace."""
    found = faults_of([ending(), ending(**told)], [], [])
    assert list(found) == ["did not end by itself"]
    assert [line.startswith("notifier: status") for line in found["did not end by itself"]] == [True]


def test_what_is_left_of_the_earlier_image_is_a_fault() -> None:
    """So is a container that the engine had to start again; a good end is none."""
    assert faults_of([ending()], ["4f2a"], ["1 /gateway"]) == {
        "not upgraded": ["4f2a"],
        "restarted": ["1 /gateway"],
    }
    assert faults_of([ending()], [], []) == {}


def test_parts_are_replaced_whose_definition_or_mounted_files_have_changed(tmp_path: Path) -> None:
    """And no others: a broker that is made anew for nothing costs its members a catching up."""
    earlier, later = tmp_path / "earlier", tmp_path / "later"
    copy_of_this_tree(earlier)
    copy_of_this_tree(later)
    assert changed_parts(earlier, later) == []
    rights = later / "deploy/redis/redis.acl"
    rights.write_text(rights.read_text() + "# another line\n")
    assert "redis" in changed_parts(earlier, later)
    assert not {"rabbitmq1", "postgres"} & set(changed_parts(earlier, later))


def test_each_port_of_a_service_has_room_for_a_second_container() -> None:
    """Ranges of two that do not meet; brokers and stores have one port each."""
    ports = published(25_000)
    assert ports["GATEWAY_PORT"].split("-")[1] == str(int(ports["GATEWAY_PORT"].split("-")[0]) + 1)
    numbers = [int(number) for each in ports.values() for number in each.split("-")]
    assert len(numbers) == len(set(numbers))


def test_readers_are_replaced_before_writers() -> None:
    """What reads an event comes before what writes it."""
    assert ORDER.index("notifier") < ORDER.index("order_processor") < ORDER.index("api_gateway")
    assert len(stage_of(Mode.DOCKER, (*PARTS, *ORDER)).faults) == len(PARTS) + len(ORDER)
