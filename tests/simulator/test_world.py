"""The simulated world: what dies is dead, time is virtual, and what was sent arrives without its sender."""

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tests.simulator.loop import Endless, SimulatedLoop
from tests.simulator.network import Cut, Network, Passage
from tests.simulator.processes import Process, Trap
from tests.simulator.searching import simulator
from tests.simulator.store import StoreServer
from tests.simulator.substitutes import EPOCH_SECONDS, substituted
from tests.simulator.trace import Trace

HOUR = 3600.0


@pytest.fixture
def loop() -> SimulatedLoop:
    """A loop under seed 1."""
    return SimulatedLoop(random.Random(1))


def test_time_goes_on_by_timers_alone(loop: SimulatedLoop) -> None:
    """An hour takes no time."""

    async def wait() -> float:
        await asyncio.sleep(HOUR)
        return loop.time()

    assert loop.run(wait()) == HOUR


def test_ready_callbacks_run_in_an_order_that_the_seed_decides() -> None:
    """Different seeds see different orders, and the same seed the same."""

    def order(seed: int) -> list[int]:
        seen: list[int] = []

        async def note(number: int) -> None:
            seen.append(number)

        async def main() -> None:
            await asyncio.gather(*(note(number) for number in range(8)))

        SimulatedLoop(random.Random(seed)).run(main())
        return seen

    assert order(1) == order(1) != order(2)
    assert sorted(order(1)) == list(range(8))


def test_a_killed_process_runs_no_cleanup(loop: SimulatedLoop) -> None:
    """SIGKILL asks nobody: no finally block of it is seen by the living."""
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(1.0)
            seen.append("worked")
        finally:
            seen.append("cleaned up")

    async def main() -> list[str]:
        process = Process(loop, "victim")
        process.start(work())
        await asyncio.sleep(0.5)
        process.kill()
        await asyncio.sleep(HOUR)
        return list(seen)

    assert loop.run(main()) == []


@pytest.mark.parametrize("fate", ["lives", "is killed"])
def test_deadlines_of_one_process_outlive_another(loop: SimulatedLoop, fate: str) -> None:
    """They share a timer on this one loop, as processes of the pipeline never do."""
    ended: list[tuple[str, float]] = []

    async def bounded(name: str) -> None:
        try:
            async with asyncio.timeout(1.0):
                await asyncio.sleep(HOUR)
        except TimeoutError:
            ended.append((name, loop.time()))

    async def main() -> None:
        first, second = Process(loop, "first"), Process(loop, "second")
        first.start(bounded("first"))
        await asyncio.sleep(0.5)
        second.start(bounded("second"))
        await asyncio.sleep(0.1)
        if fate == "is killed":
            first.kill()
        await asyncio.sleep(HOUR)

    loop.run(main())
    assert [name for name, _ in ended] == (["first", "second"] if fate == "lives" else ["second"])
    assert ended[-1][1] == pytest.approx(1.5)


def test_a_process_can_die_before_any_of_its_callbacks(loop: SimulatedLoop) -> None:
    """The countdown counts its own callbacks, and it gets none after the last."""
    steps: list[int] = []

    async def work() -> None:
        for number in range(10):
            steps.append(number)
            await asyncio.sleep(0)

    async def main() -> bool:
        process = Process(loop, "victim")
        process.dies_after = 4
        process.start(work())
        await asyncio.sleep(1.0)
        return process.is_alive

    assert loop.run(main()) is False
    assert steps == [0, 1, 2]


def test_a_process_can_die_of_what_it_asks_for(loop: SimulatedLoop) -> None:
    """A trap waits for the request that it is set for, however long that takes, and is counted from there."""
    asked: list[str] = []

    async def work(process: Process) -> None:
        for request in ("lease", "order:1", "order:2"):
            process.asks(request)
            asked.append(request)
            await asyncio.sleep(HOUR)

    async def main() -> bool:
        process = Process(loop, "victim")
        process.trap = Trap(request="order:", steps=1)
        process.start(work(process))
        await asyncio.sleep(10 * HOUR)
        return process.is_alive

    assert loop.run(main()) is False
    assert asked == ["lease", "order:1"]


def test_where_a_process_stands_is_known_down_to_the_last_await(loop: SimulatedLoop) -> None:
    """Also within what ``async with`` enters."""

    @asynccontextmanager
    async def entered() -> AsyncIterator[None]:
        await asyncio.sleep(HOUR)
        yield

    async def work() -> None:
        async with entered():
            pass

    async def main() -> set[int]:
        process = Process(loop, "victim")
        process.start(work())
        await asyncio.sleep(1.0)
        return {line for path, line in process.spots() if path == __file__}

    lines = Path(__file__).read_text().splitlines()
    stood = {lines[number - 1].strip() for number in loop.run(main())}
    assert stood == {"async with entered():", "await asyncio.sleep(HOUR)"}


def test_a_stalled_process_is_late_for_its_timers(loop: SimulatedLoop) -> None:
    """Its deadlines pass while it stands still, as under SIGSTOP."""

    async def work() -> float:
        await asyncio.sleep(1.0)
        return loop.time()

    async def main() -> float:
        process = Process(loop, "sleeper")
        working = process.start(work())
        await asyncio.sleep(0.5)
        process.stall()
        await asyncio.sleep(19.5)
        process.resume()
        return await working

    assert loop.run(main()) == 20.0


@pytest.mark.parametrize(
    ("cut", "is_carried_out"), [(Cut.NOWHERE, True), (Cut.BEFORE, False), (Cut.AFTER, True)]
)
def test_what_was_sent_is_carried_out_without_its_sender(
    loop: SimulatedLoop, cut: Cut, *, is_carried_out: bool
) -> None:
    """Death does not take requests back that are on their way."""
    carried_out: list[bool] = []

    async def serve() -> None:
        carried_out.append(True)

    async def main() -> None:
        network, process = Network(loop), Process(loop, "sender")
        passage = Passage(there=1.0, back=1.0, cut=cut)
        process.start(network.ask(serve, passage, lambda: RedisConnectionError("cut")))
        await asyncio.sleep(0.5)
        assert network.under_way == 1
        process.kill()
        await asyncio.sleep(5.0)
        assert network.under_way == 0

    loop.run(main())
    assert bool(carried_out) is is_carried_out


def test_the_stores_clock_and_its_ttls_are_virtual(loop: SimulatedLoop) -> None:
    """A lease ends when the simulation says so."""
    server = StoreServer()
    server.empty()

    async def main() -> list[Any]:
        server.carry_out("SET", "lease", "held", "PX", 10_000)
        await asyncio.sleep(9.0)
        held, left = server.carry_out("GET", "lease"), server.carry_out("PTTL", "lease")
        await asyncio.sleep(2.0)
        return [held, left, server.carry_out("GET", "lease"), server.carry_out("TIME")]

    with substituted(loop, random.Random(1), Trace(loop, is_kept=False)):
        held, left, after, now = loop.run(main())
    assert (held, left, after) == ("held", 1000, None)
    assert now == (round(EPOCH_SECONDS) + 11, 0)


def _forever() -> Coroutine[Any, Any, None]:
    async def spin() -> None:
        while True:  # noqa: ASYNC110 - the hot loop that is to be noticed
            await asyncio.sleep(0)

    return spin()


def _for_nothing() -> Coroutine[Any, Any, None]:
    async def wait() -> None:
        await asyncio.Event().wait()

    return wait()


@pytest.mark.parametrize("endless", [_forever, _for_nothing])
def test_what_would_never_end_is_noticed(loop: SimulatedLoop, endless: Any) -> None:
    """A hot loop or a lost wakeup fails at once instead of hanging the suite."""
    with pytest.raises(Endless):
        loop.run(endless())


def test_a_simulation_leaves_nothing_behind() -> None:
    """Time, secrets and logging are the real ones again."""
    import secrets
    import time

    import structlog

    import notifier.batches
    import notifier.handlers

    before = structlog.get_config()
    simulator().run(5)
    assert notifier.handlers.time is time  # type: ignore[attr-defined]
    assert notifier.batches.secrets is secrets  # type: ignore[attr-defined]
    assert structlog.get_config() == before
