"""Deadlines that share a timer keep what ``asyncio.timeout`` promises."""

import asyncio
import time

import pytest

from shared.deadlines import Line, within

SOON = 0.02
LATE = 30.0


async def test_what_takes_too_long_is_ended() -> None:
    """By a TimeoutError, and the task lives on."""
    with pytest.raises(TimeoutError):
        async with within(SOON):
            await asyncio.sleep(LATE)
    await asyncio.sleep(0)


async def test_what_is_in_time_is_left_alone() -> None:
    """Also later, when its time would have come."""
    async with within(SOON):
        pass
    async with asyncio.timeout(LATE):
        await asyncio.sleep(2 * SOON)


async def test_each_of_many_has_its_own_time() -> None:
    """Of those that share a timer nobody is ended early, and nobody is forgotten."""

    async def bounded(began_after: float, lasts: float) -> tuple[str, float]:
        await asyncio.sleep(began_after)
        began = time.monotonic()
        try:
            async with within(0.5):
                await asyncio.sleep(lasts)
        except TimeoutError:
            return "ended", time.monotonic() - began
        return "done", time.monotonic() - began

    results = await asyncio.gather(
        *(bounded(0.01 * number, LATE if number % 2 else 0.001) for number in range(20))
    )
    assert [how for how, _ in results] == ["done", "ended"] * 10
    assert all(seconds >= 0.499 for how, seconds in results if how == "ended")


async def test_the_inner_of_two_ends_its_own_block_alone() -> None:
    """The outer one goes on."""
    async with within(LATE):
        with pytest.raises(TimeoutError):
            async with within(SOON):
                await asyncio.sleep(LATE)
        await asyncio.sleep(0)


async def test_the_outer_of_two_ends_both() -> None:
    """Its error comes out at its own end."""
    reached = False

    async def bounded_twice() -> None:
        nonlocal reached
        async with within(SOON):
            async with within(LATE):
                await asyncio.sleep(LATE)
            reached = True

    with pytest.raises(TimeoutError):
        await bounded_twice()
    assert not reached


async def test_a_cancellation_by_others_stays_one() -> None:
    """A drain is not mistaken for a slow store, though both come at once."""

    async def bounded() -> None:
        async with within(SOON):
            await asyncio.sleep(LATE)

    task = asyncio.create_task(bounded())
    await asyncio.sleep(0)
    time.sleep(2 * SOON)  # noqa: ASYNC251 - so that the deadline is due in the same turn
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


def test_every_event_loop_has_its_own() -> None:
    """One that ended with deadlines pending keeps nobody of the next from being ended."""

    async def leave_one() -> None:
        _ = asyncio.create_task(forgotten())  # noqa: RUF006 - cancelled with the loop
        await asyncio.sleep(0)

    async def forgotten() -> None:
        async with within(SOON):
            await asyncio.sleep(LATE)

    asyncio.run(leave_one())
    asyncio.run(test_what_takes_too_long_is_ended())


async def test_one_timer_serves_a_whole_line() -> None:
    """Which is what it is for."""
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def counted(when: float, *arguments: object, **options: object) -> asyncio.TimerHandle:
        timers.append(when)
        return call_at(when, *arguments, **options)  # type: ignore[arg-type]  # handed on as they came

    loop.call_at = counted  # type: ignore[method-assign]  # of this test's loop alone
    line = Line(loop, SOON)

    class Over:
        def is_over(self) -> bool:
            return True

        def expire(self) -> None:
            raise AssertionError("it was over")

    for _ in range(1_000):
        line.add(Over())
    assert len(timers) == 1
    await asyncio.sleep(2 * SOON)
    assert len([when for when in timers if when <= loop.time()]) <= 3
