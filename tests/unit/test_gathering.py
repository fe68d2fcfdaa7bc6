"""What many callers ask at one time is asked once, and nothing of it is kept."""

import asyncio
import gc
import weakref
from collections.abc import Sequence
from contextlib import suppress

from shared.gathering import Gathering
from tests.harness.waiting import wait_until


class Told:
    """An answer whose end can be seen."""


async def test_an_answer_is_not_kept_once_it_is_given() -> None:
    """Its deadline is long: what hangs on answers and errors would fill the memory of a busy gateway."""

    async def ask(items: Sequence[int]) -> Sequence[Told | Exception]:
        return [Told() for _ in items]

    gathering: Gathering[int, Told] = Gathering(
        ask, fitting=len, at_once=1, timeout_seconds=60.0, late=lambda _: TimeoutError()
    )
    answers = await asyncio.gather(*(gathering.answer(number) for number in range(3)))
    ends = [weakref.ref(answer) for answer in answers]
    del answers
    await wait_until(lambda: not any(end() for end in ends), timeout_seconds=1.0, what="their end")


async def test_an_error_is_not_kept_once_every_caller_was_told() -> None:
    """Nor what was asked: no cycle waits for the collector, which looks rarely."""

    class Item:
        """What is asked for, such as an order's message."""

    async def ask(items: Sequence[Item]) -> Sequence[Told | Exception]:
        raise OSError("away")

    gathering: Gathering[Item, Told] = Gathering(
        ask, fitting=len, at_once=1, timeout_seconds=60.0, late=lambda _: TimeoutError()
    )

    async def asked_in_vain(item: Item) -> None:
        with suppress(OSError):
            await gathering.answer(item)

    items = [Item() for _ in range(3)]
    ends = [weakref.ref(item) for item in items]
    gc.disable()
    try:
        await asyncio.gather(*(asked_in_vain(item) for item in items))
        del items
        await wait_until(lambda: not any(end() for end in ends), timeout_seconds=1.0, what="their end")
    finally:
        gc.enable()
