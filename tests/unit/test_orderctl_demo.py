"""What the demonstration reads off its chronicle, and draws."""

import io

import pytest
from rich.console import Console

from orderctl.commands.demo import require_whole, script
from orderctl.demonstration.chronicle import Chronicle, Moment, Sample, levels_of
from orderctl.demonstration.picture import line, picture, sparkline, summary
from orderctl.errors import OrderctlError
from orderctl.modes import current_system


def a_chronicle() -> Chronicle:
    """Ten orders a second for six seconds; a kill at two silences answers for 0.5, decisions for 1.5 s."""
    ticks = [tick / 10 for tick in range(1, 61)]
    decided = [tick for tick in ticks if not 2.0 < tick < 3.5]
    return Chronicle(
        acknowledged=[tick for tick in ticks if not 2.0 < tick < 2.5],
        samples=[
            Sample(
                at=tick,
                decided=sum(at <= tick for at in decided),
                told=0,
                waiting=0,
                outbox=15 if 2.0 < tick < 3.5 else 0,
            )
            for tick in ticks
        ],
        moments=[Moment(at=2.0, text="SIGKILL rabbitmq2")],
        nodes={"rabbitmq1": True, "rabbitmq2": False, "rabbitmq3": True},
        leader="rabbitmq2",
        killed_at=2.0,
        started_at=4.0,
        back_at=5.5,
        load_ended_at=6.0,
        settled_at=6.0,
    )


def drawn(content: object, width: int = 120) -> str:
    """What a console of that width shows."""
    screen = io.StringIO()
    Console(file=screen, width=width, force_terminal=True, color_system=None).print(content)
    return screen.getvalue()


def test_the_gaps_are_those_after_the_kill() -> None:
    """What was slow before it does not count, and the gap begins with the last answer before it."""
    chronicle = a_chronicle()
    chronicle.acknowledged[0:0] = [-5.0]
    assert chronicle.acknowledged_gap() == pytest.approx(0.5)
    assert chronicle.decided_gap() == pytest.approx(1.5)
    assert chronicle.most_in_outbox == 15


def test_nothing_killed_is_no_gap() -> None:
    """An empty chronicle can be shown as well."""
    empty = Chronicle()
    assert (empty.acknowledged_gap(), empty.decided_gap(), empty.most_in_outbox) == (0.0, 0.0, 0)
    assert "0 accepted" in drawn(picture(empty, 0.0, 100, "demo"))


def test_flows_are_counted_in_equal_stretches() -> None:
    """The last so many of them, ending now."""
    chronicle = a_chronicle()
    assert chronicle.acknowledged_per_bucket(1.0, 10, 6.05) == [10, 10, 6, 10, 10, 10]
    assert chronicle.decided_per_bucket(1.0, 10, 6.05) == [10, 10, 0, 6, 10, 10]
    assert chronicle.outbox_per_bucket(1.0, 2, 6.05) == [0, 0]
    assert levels_of([(0.5, 7)], 1.0, 3.0) == [7, 7, 7]


def test_a_gap_is_marked_and_the_time_after_the_end_is_not() -> None:
    """Silence between two flows is what the picture is about; silence afterwards is the end."""
    text = sparkline([0, 8, 4, 0, 8, 0], "green", marks_gaps=True)
    assert text.plain == " █▄·█ "


@pytest.mark.parametrize("width", [60, 80, 130])
def test_the_picture_fits_its_console(width: int) -> None:
    """No line is wider than the screen, and the moments and brokers are on it."""
    shown = drawn(picture(a_chronicle(), 6.05, width, "orderctl demo"), width)
    assert all(len(row) <= width for row in shown.splitlines())
    assert "▲" in shown
    assert "SIGKILL rabbitmq2" in shown
    assert "✗ rabbitmq2" in shown


def test_the_kill_and_the_return_are_pointed_at() -> None:
    """Under the stretch in which they happened, in words where these do not run into one another."""
    chronicle = a_chronicle()
    assert "    ▲   ▲ started" in drawn(picture(chronicle, 9.0, 130, "orderctl demo"))
    chronicle.started_at = 7.0
    assert "    ▲ killed  ▲ started" in drawn(picture(chronicle, 9.0, 130, "orderctl demo"))


def test_without_a_screen_it_is_one_line() -> None:
    """For pipes and logs."""
    shown = line(a_chronicle(), 6.05)
    assert "rabbitmq2 DOWN" in shown
    assert "10/s accepted" in shown
    assert "\n" not in shown


def test_the_summary_says_what_was_seen() -> None:
    """Gap, recovery, backlog, the broker's way back."""
    shown = drawn(summary(a_chronicle()))
    assert all(text in shown for text in ("500 ms", "1,500 ms", "15 orders", "1.5 s after its start"))


def test_the_broker_dies_and_returns_while_the_load_runs() -> None:
    """Whatever the rate, with stock for a part of the orders."""
    plan = script(3_000, 100.0)
    assert (plan.kill_after, plan.start_after) == (9.0, 18.0)
    assert plan.stock == 1_800
    assert plan.plan.items[0].sku == plan.sku


def test_a_system_with_a_part_down_is_not_demonstrated(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """It says that nothing runs, and what to type."""
    status = current_system(tmp_path_factory.mktemp("data")).status()
    with pytest.raises(OrderctlError, match="nothing runs"):
        require_whole(status)
