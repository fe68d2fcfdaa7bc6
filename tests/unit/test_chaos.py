"""A chaos run in stages: what each has to do, what is kept of it, and how letters are judged."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from shared.prices import Cost
from tests.chaos.report import Overload, Report, Seen
from tests.chaos.run import told_wrongly
from tests.chaos.shop import charged_wrongly
from tests.chaos.stages import STAGE_ORDERS, Plan, Record
from tests.chaos.upgrade import ROOT, tree_of
from tests.harness.running import code_of

PLAN = Plan(seed=7, faults=301, rate=400.0, channel="log", orders=10 * STAGE_ORDERS - 5)
REPORT = Report(
    seed="7-1",
    channel="smtp",
    orders=100_000,
    removed=60_000,
    overload=Overload(
        requests=1, refused=0, refused_median=0.0, refused_worst=0.0, rss_before=1, rss_after=1
    ),
    verdict={"created": 50_000, "rejected": 50_000},
    seen=[
        Seen(
            fault="redis killed",
            detail="redis",
            at=1.0,
            broken=1.0,
            answer_gap=1.0,
            decision_gap=1.0,
            recovery=1.0,
            undecided=1_234,
        )
    ],
)


def test_a_short_run_is_one_stage_that_lasts_as_long_as_its_faults() -> None:
    """No order is swept meanwhile."""
    (stage,) = Plan(seed=7, faults=60, rate=40.0).stages
    assert (len(stage.faults), stage.orders) == (60, 0)
    assert stage.retention_seconds > 86_400


def test_stages_share_orders_and_schedule() -> None:
    """All of both, in equal parts; retention is short enough for the sweep to run."""
    stages = PLAN.stages
    assert len(stages) == 10
    assert sum(stage.orders for stage in stages) == PLAN.orders
    assert [name for stage in stages for name in stage.faults] == [
        name for stage in replace(PLAN, orders=5).stages for name in stage.faults
    ]
    assert max(stage.orders for stage in stages) <= STAGE_ORDERS
    assert {len(stage.faults) for stage in stages} == {30, 31}
    assert len({stage.seed for stage in stages}) == 10
    assert all(180 < stage.retention_seconds < stage.orders / stage.rate for stage in stages)


def test_a_run_is_resumed_after_the_last_stage_that_is_done(tmp_path: Path) -> None:
    """Of what it did nothing is lost, and nothing is drawn anew."""
    record = Record(plan=PLAN)
    assert not record.passed
    record.done.append(REPORT)
    page = record.write(tmp_path)
    assert page.read_text().startswith("# Chaos, seed 7: passed, 9 stages to come\n")
    again = Record.read(page.with_suffix(".json"))
    assert (again.plan, again.done) == (PLAN, [REPORT])
    assert again.left == PLAN.stages[1:]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["chaos-7.json", "chaos-7.md"]


@pytest.mark.parametrize(
    ("second", "passed"),
    [
        (REPORT, True),
        (replace(REPORT, extra_notifications=1, notifier_deaths=1), True),
        (replace(REPORT, extra_notifications=1), False),
        (replace(REPORT, extra_notifications=10, notifier_deaths=1, channel="log"), True),
        (replace(REPORT, extra_notifications=11, notifier_deaths=1, channel="log"), False),
        (replace(REPORT, faults={"lost": ["a"]}), False),
    ],
)
def test_a_run_has_passed_if_every_stage_has(second: Report, passed: bool) -> None:
    """A stage that failed stays failed, whatever comes after it; the page says which."""
    record = Record(plan=replace(PLAN, orders=3 * STAGE_ORDERS), done=[REPORT, replace(second, seed="7-2")])
    assert record.left
    record.done.append(replace(REPORT, seed="7-3"))
    assert record.passed is passed
    page = record.markdown()
    assert page.startswith("# Chaos, seed 7: " + ("passed\n" if passed else "7-2 FAILED"))
    assert "300,000 orders in 0 s, 3 faults" in page
    assert "150,000 created, 150,000 rejected." in page
    assert "1,234" in page


def test_letters_tell_of_every_order_also_of_those_that_were_swept() -> None:
    """One outcome each, or a later step; what an operator has to look at is excused."""
    told = {
        "a:order.created.v1": 1,
        "b:order.rejected.v1": 2,
        "c:order.created.v1": 1,
        "c:order.rejected.v1": 1,
        "f:order.shipped.v1": 1,
    }
    assert told_wrongly("abf", told, ()) == {}
    assert told_wrongly("abcde", told, "e") == {"told both outcomes": ["c"], "told nothing": ["d"]}


def test_letters_name_what_the_client_was_promised() -> None:
    """And that was a price of the product at some time; what has no price promises nothing."""
    costs = {name: Cost(currency="EUR", amount_total=1999) for name in "abc"} | {"d": Cost()}
    letters = {
        "a:order.created.v1": "19.99 EUR",
        "b:order.rejected.v1": "17.99 EUR",
        "c:order.created.v1": "",
        "d:order.created.v1": "",
    }
    assert charged_wrongly(costs, letters, {1999, 1799}) == {"charged another sum": ["b", "c"]}
    assert charged_wrongly({"a": costs["a"]}, letters, {1799}) == {"promised no price of its product": ["a"]}


def test_an_upgrade_begins_with_the_code_of_the_earlier_commit(tmp_path: Path) -> None:
    """Whatever is installed, and wherever it is started from."""
    if not tree_of("HEAD", tmp_path):
        pytest.skip("this tree is no clone")
    asked = [sys.executable, "-c", "import shared.services; print(shared.services.__file__)"]
    environment = {**os.environ, **code_of(tmp_path)}
    told = subprocess.run(asked, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert Path(told.strip()) == tmp_path / "shared" / "services.py"


def test_a_commit_that_a_clone_does_not_have_is_told(tmp_path: Path) -> None:
    """A shallow one has no earlier ones."""
    assert not tree_of("0" * 40, tmp_path)
