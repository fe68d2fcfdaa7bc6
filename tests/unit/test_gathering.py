"""What many callers ask at one time is asked once, and nothing of it is kept."""

import asyncio
import weakref
from collections.abc import Sequence

from shared.gathering import Gathering


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
    for _ in range(3):  # the asking task ends in a turn of its own
        await asyncio.sleep(0)
    assert [end() for end in ends] == [None] * 3
