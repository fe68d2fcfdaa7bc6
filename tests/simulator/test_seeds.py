"""A thousand worlds, each with faults of its own: in none of them is anything lost, doubled or oversold."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

import api_gateway.announcing
import api_gateway.intake
import api_gateway.relay
import dashboard.dead_letters.actions
import dashboard.dead_letters.desk
import dashboard.dead_letters.store
import notifier.collecting
import notifier.handlers
import notifier.quota
import notifier.sending
import notifier.store
import notifier.unconfirmed
import order_processor.handlers
import order_processor.payments
import shared.messaging.dead_letters
import shared.messaging.router
import shared.messaging.settlement
import shared.messaging.waiting
import shared.orders.redis.decisions
import shared.orders.redis.moves
import shared.orders.redis.payments
import shared.redis.lease
import shared.redis.scripts
from tests.simulator.__main__ import main
from tests.simulator.choosing import CHOICE_BUGS
from tests.simulator.climates import CLIMATES, with_operator, with_payments, with_poor_mail
from tests.simulator.planted import BUGS
from tests.simulator.processes import Spot
from tests.simulator.searching import report, run_all, simulator
from tests.simulator.uncounted import INBOX_BUGS
from tests.simulator.unpaid import PAYMENT_BUGS
from tests.simulator.watching import STREAM_BUGS
from tests.simulator.weather import MEAN_PAUSES, Plan, draw, without

CHUNKS, SEEDS_PER_CHUNK = 20, 50
SEEDS_PER_BUG, SEEDS_PER_CLIMATE = 150, 8
ALL_BUGS = {**BUGS, **PAYMENT_BUGS, **STREAM_BUGS, **INBOX_BUGS, **CHOICE_BUGS}
FIRST_SEEDS = {
    "a batch is confirmed by its first event": 15,
    "a choice leaves what was chosen before": 12,
    "a claim for ever": 45,
    "a consumer that lost its connection stays away": 4,
    "a dead batch is dropped unread": 90,
    "a decision is not entered in the log": 2,
    "a drop decides again": 72,
    "a drop is not announced": 72,
    "a failure overwrites a decision": 15,
    "a group is marked before the log is flushed": 97,
    "a late claim reopens what failed": 66,
    "a letter goes though it was not sent back": 121,
    "a move counts as announced before the confirm": 7,
    "a neighbour of the failed event is moved": 29,
    "a price is looked at again for the decision": 12,
    "a publish without a confirm counts as published": 55,
    "a scheduled order begins without a message": 10,
    "a script is loaded before it is run": 12,
    "a split batch loses an event": 35,
    "ack before the event is published": 110,
    "an earlier step is told after a later one": 50,
    "anybody's release frees the claim": 63,
    "nothing is relayed": 4,
    "the relay removes before the confirm": 44,
    "the same event differs from time to time": 1,
    "the second letter is not noted before it goes": 68,
    "what was declined is told once mail is wanted": 2,
}
"""Where a search begins, to spare the seeds before; it goes on over all others."""
SPARED_SHARE = 0.33
"""Some awaits never wait, some only while somebody lists orders or a crash point is armed."""
MORTAL = (
    api_gateway.announcing,
    api_gateway.intake,
    api_gateway.relay,
    dashboard.dead_letters.actions,
    dashboard.dead_letters.desk,
    dashboard.dead_letters.store,
    notifier.collecting,
    notifier.handlers,
    notifier.quota,
    notifier.sending,
    notifier.store,
    notifier.unconfirmed,
    order_processor.handlers,
    order_processor.payments,
    shared.orders.redis.decisions,
    shared.orders.redis.moves,
    shared.orders.redis.payments,
    shared.messaging.dead_letters,
    shared.messaging.router,
    shared.messaging.settlement,
    shared.messaging.waiting,
    shared.redis.lease,
    shared.redis.scripts,
)


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_promise_holds_whatever_a_seed_brings(chunk: int) -> None:
    """Crashes at any await, outages, duplicates, disorder: afterwards the oracle finds no fault."""
    first = chunk * SEEDS_PER_CHUNK
    found = run_all(range(first, first + SEEDS_PER_CHUNK))
    assert found.failed is None, report(found.failed, with_trace=False)


def _as_it_is(plan: Plan) -> Plan:
    return plan


@pytest.mark.parametrize("name", ALL_BUGS)
def test_a_planted_bug_is_found(name: str) -> None:
    """A simulator that finds nothing would prove nothing."""
    climate, first = CLIMATES.get(name, _as_it_is), FIRST_SEEDS.get(name, 0)
    seeds = (*range(first, SEEDS_PER_BUG), *range(first))
    hiding = () if name in CHOICE_BUGS else ("choice",)  # where less is told, bugs of telling hide longer
    plans = (climate(without(draw(seed), *hiding)) for seed in seeds)
    with ALL_BUGS[name]():
        assert any(simulator().run(plan.seed, plan=plan).faults for plan in plans), (
            f"not found in {SEEDS_PER_BUG} seeds"
        )


@pytest.mark.parametrize("name", {climate: name for name, climate in CLIMATES.items()}.values())
def test_its_weather_alone_is_no_bug(name: str) -> None:
    """What is found under rough weather is the bug, and not the weather."""
    for seed in range(SEEDS_PER_CLIMATE):
        outcome = simulator().run(seed, plan=CLIMATES[name](draw(seed)))
        assert not outcome.faults, report(outcome, with_trace=False)


def test_without_faults_everybody_is_told_once() -> None:
    """The second notification that faults excuse is excused by nothing else."""
    calm = [
        seed for seed in range(200) if not draw(seed).pauses and "none" in str(draw(seed)).splitlines()[1]
    ]
    assert calm
    for seed in calm:
        outcome = simulator().run(seed)
        assert not outcome.faults
        assert (outcome.counts["extra_notifications"], outcome.counts["deaths"]) == (0, 0)


def test_every_kind_of_fault_comes_up() -> None:
    """None of them is switched off by mistake."""
    plans = [draw(seed) for seed in range(CHUNKS * SEEDS_PER_CHUNK)]
    assert {kind for plan in plans for kind in plan.pauses} == set(MEAN_PAUSES)
    absent = {
        *("created", "rejected", "cancelled", "moved"),
        *("dead", "undelivered", "declined", "deaths", "poison", "extra_notifications"),
    }
    for seed in range(200):
        plan = draw(seed)
        outcome = simulator().run(seed, plan=with_poor_mail(plan) if seed % 2 else plan)
        absent -= set(+outcome.counts)
        if not absent:
            break
    assert not absent


@pytest.mark.timeout(600)  # the longest of them: ten seconds of CPU, on machines that have little to spare
def test_crashes_strike_at_nearly_every_await() -> None:
    """What is proven about crashes is proven for the awaits at which one has happened."""
    struck: set[Spot] = set()
    awaits = [spot for module in MORTAL for spot in _awaits(module)]
    spared = [path for path, _ in awaits]
    for seed in range(3 * SEEDS_PER_CHUNK):
        if len(spared) < SPARED_SHARE * len(awaits):
            break
        plan = with_operator(draw(seed))
        plan = with_poor_mail(plan) if seed % 2 else with_payments(plan)
        outcome = simulator().run(seed, plan=replace(plan, pauses={**plan.pauses, "crash": 0.4}))
        assert not outcome.faults, report(outcome, with_trace=False)
        struck |= outcome.died_at
        spared = [
            f"{path}:{min(lines)}" for path, lines in awaits if not any((path, at) in struck for at in lines)
        ]
    assert len(spared) < SPARED_SHARE * len(awaits), spared


def _awaits(module: ModuleType) -> Iterator[tuple[str, range]]:
    path = str(module.__file__)
    for node in ast.walk(ast.parse(Path(path).read_text())):
        if isinstance(node, ast.Await):
            yield path, range(node.lineno, (node.end_lineno or node.lineno) + 1)


def test_the_same_seed_is_the_same_run() -> None:
    """A failure can be looked at as often as it takes."""
    first = simulator().run(17, is_traced=True)
    simulator().run(18)
    again = simulator().run(17, is_traced=True)
    assert len(first.trace) > 100
    assert again.trace == first.trace


def test_a_seed_is_replayed_by_another_process() -> None:
    """Nothing of the order in which sets or addresses happen to come is left in a run."""
    traces = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulator", "--seed", "17", "--trace"],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert len(traces[0].splitlines()) > 100
    assert traces[0] == traces[1]


def test_a_seed_that_fails_says_how_to_replay_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever reads the report of a failure can go on from there."""
    with BUGS["stock is not checked"]():
        assert main(["--seed", "0"]) == 1
    said = capsys.readouterr().out
    assert "oversold" in said
    assert "python -m tests.simulator --seed 0 --trace" in said


def test_the_search_ends_at_the_first_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """A clean search says how much it has seen."""
    assert main(["--seeds", "0-9", "--jobs", "2"]) == 0
    assert "10 seeds" in capsys.readouterr().out
