"""Concurrent script calls share round trips, and nothing else."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any, cast

import pytest
from redis.exceptions import ResponseError

from shared.errors import StoreUnavailable
from shared.redis.client import Redis
from shared.redis.coalescing import LARGEST_BATCH, CoalescedScript
from shared.redis.scripts import Script, ScriptCall
from shared.tracing import Span, in_span
from tests.harness.spans import keeping_spans
from tests.simulator.loop import SimulatedLoop


class RecordedScript:
    """Answers each call with its first argument, and keeps what came together."""

    span_name = "redis recorded"

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def run_many(self, _: Redis, calls: Sequence[ScriptCall]) -> list[Any]:
        """See Script."""
        self.batches.append(len(calls))
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        answers = [call.arguments[0] for call in calls]
        return [ResponseError("broken") if answer == "bad" else answer for answer in answers]


def coalesced(script: RecordedScript, timeout_seconds: float = 5.0) -> CoalescedScript:
    """The subject, over a script that needs no store."""
    return CoalescedScript(cast(Script, script), cast(Redis, None), timeout_seconds=timeout_seconds)


def call(argument: str) -> ScriptCall:
    """A call that is known by its argument."""
    return ScriptCall([], [argument])


async def test_calls_of_one_moment_go_out_together_and_each_gets_its_own_answer() -> None:
    """Ten requests at once cost one round trip."""
    script = RecordedScript()
    subject = coalesced(script)
    answers = await asyncio.gather(*(subject.run(call(str(number))) for number in range(10)))
    assert answers == [str(number) for number in range(10)]
    assert script.batches == [10]
    assert await subject.run(call("later")) == "later"


async def test_callers_that_share_a_round_trip_have_a_span_each() -> None:
    """Of their own traces; who is not traced has none."""
    subject = coalesced(RecordedScript())

    async def asks(span: Span | None) -> None:
        with in_span(span):
            await subject.run(call("x"))

    with keeping_spans() as kept:
        requests = [Span("request", "server", f"{n:032x}", None, kept) for n in (1, 2)]
        await asyncio.gather(*map(asks, (*requests, None)))
    found = {(span.trace_id, span.parent_id) for span in kept.named("redis recorded")}
    assert found == {(request.trace_id, request.span_id) for request in requests}


async def test_a_batch_is_bounded() -> None:
    """One caller's wait does not grow with everybody else's calls without end."""
    script = RecordedScript()
    subject = coalesced(script)
    await asyncio.gather(*(subject.run(call("x")) for _ in range(LARGEST_BATCH + 1)))
    assert script.batches == [LARGEST_BATCH, 1]


async def test_what_is_asked_for_while_round_trips_are_under_way_goes_out_together() -> None:
    """Two at a time, so that the store has work while answers are read; the rest of a burst is one batch."""
    script = RecordedScript()
    subject = coalesced(script)
    script.gate.clear()
    callers = []
    for number in range(5):
        callers.append(asyncio.create_task(subject.run(call(str(number)))))
        for _ in range(3):  # until the call was sent or has to wait
            await asyncio.sleep(0)
    assert script.batches == [1, 1]
    script.gate.set()
    assert await asyncio.gather(*callers) == ["0", "1", "2", "3", "4"]
    assert script.batches == [1, 1, 3]


async def test_a_call_in_the_very_moment_that_a_sender_ends_is_sent() -> None:
    """No call is left behind between the last look for one and the end of who looked."""
    script = RecordedScript()
    subject = coalesced(script)

    async def chain(name: str) -> None:
        for number in range(200):
            assert await subject.run(call(f"{name}{number}")) == f"{name}{number}"
            for _ in range(number % 5):
                await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await asyncio.gather(*(chain(name) for name in "abcd"))


async def test_a_call_that_fails_is_its_callers_alone() -> None:
    """A broken record never fails a neighbour."""
    subject = coalesced(RecordedScript())
    calls = (subject.run(call(name)) for name in ("good", "bad"))
    good, bad = await asyncio.gather(*calls, return_exceptions=True)
    assert good == "good"
    assert isinstance(bad, ResponseError)


async def test_a_store_that_is_away_is_told_to_every_caller() -> None:
    """And the next call is tried again."""
    script = RecordedScript()
    subject = coalesced(script)
    script.error = StoreUnavailable("away")
    results = await asyncio.gather(*(subject.run(call("x")) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, StoreUnavailable) for result in results)
    script.error = None
    assert await subject.run(call("again")) == "again"


async def test_a_caller_that_gives_up_leaves_the_others_alone() -> None:
    """A client that hangs up does not take its neighbours' orders along."""
    script = RecordedScript()
    subject = coalesced(script)
    script.gate.clear()
    leaving, staying = (asyncio.create_task(subject.run(call(name))) for name in ("leaving", "staying"))
    await asyncio.sleep(0)
    leaving.cancel()
    script.gate.set()
    assert await staying == "staying"
    with pytest.raises(asyncio.CancelledError):
        await leaving


@pytest.mark.parametrize("seed", range(10))
def test_a_silent_store_is_given_up_within_the_deadline(seed: int) -> None:
    """Whoever waits behind stalled round trips waits no longer than it would have alone."""
    loop = SimulatedLoop(random.Random(seed))
    script = RecordedScript()
    script.gate.clear()

    async def waited(subject: CoalescedScript, name: str) -> float:
        begun = loop.time()
        with pytest.raises(StoreUnavailable):
            await subject.run(call(name))
        return loop.time() - begun

    async def three() -> list[float]:
        subject = coalesced(script, timeout_seconds=5.0)
        callers = []
        for name in ("first", "second", "behind"):
            callers.append(asyncio.create_task(waited(subject, name)))
            await asyncio.sleep(1.0)
        assert script.batches == [1, 1]
        return await asyncio.gather(*callers)

    assert loop.run(three()) == [5.0, 5.0, 5.0]
