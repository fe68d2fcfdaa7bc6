"""Many callers' questions of one kind as few large ones.

What is asked for in the same turn of the event loop, or while as many questions as may be are under way, goes
out together: an idle service waits for no company, a busy one asks once for many.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Gathering(Generic[Item, Answer]):
    """Each caller gets the answer to its own item, or the exception that stands in its place.

    ``ask`` answers several items in their order; what it raises is the answer to each of them. ``fitting``
    says how many of the first ones go together, one at least; ``at_once`` how many questions may be under
    way. A caller that is not answered within ``timeout_seconds`` in all gets what ``late`` gives.
    """

    def __init__(
        self,
        ask: Callable[[Sequence[Item]], Awaitable[Sequence[Answer | Exception]]],
        *,
        fitting: Callable[[Sequence[Item]], int],
        at_once: int,
        timeout_seconds: float,
        late: Callable[[float], Exception],
    ) -> None:
        self._ask = ask
        self._fitting = fitting
        self._at_once = at_once
        self._timeout_seconds = timeout_seconds
        self._late = late
        self._context = copy_context()
        """In which is asked: what log lines and spans carry is that of no caller."""
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._askers: set[asyncio.Task[None]] = set()
        self._asking = 0
        self._unanswered: deque[tuple[float, asyncio.Future[Answer]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def answer(self, item: Item) -> Answer:
        """The answer to one item. One whose caller has given up is taken back where it is not asked yet."""
        answer = self.begin(item)
        try:
            return await answer
        finally:
            del answer  # an error keeps this frame, and the answer keeps the error

    def begin(self, item: Item) -> "asyncio.Future[Answer]":
        """The same, to be awaited later or cancelled."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((item, answer))
        self._unanswered.append((loop.time() + self._timeout_seconds, answer))
        if self._timer is None:
            self._timer = loop.call_later(self._timeout_seconds, self._give_up)
        if self._asking == 0 or (self._asking < self._at_once and len(self._waiting) == 1):
            self._asking += 1
            asker = self._context.run(loop.create_task, self._ask_all())
            self._askers.add(asker)
            asker.add_done_callback(self._askers.discard)
        return answer

    def _give_up(self) -> None:
        """Ends what has waited for too long. All callers share a timer, which costs as much as a question."""
        loop, unanswered = asyncio.get_running_loop(), self._unanswered
        self._timer = None
        while unanswered:
            due, answer = unanswered[0]
            if not answer.done():
                if due > loop.time():
                    self._timer = loop.call_at(due, self._give_up)
                    return
                answer.set_exception(self._late(self._timeout_seconds))
            unanswered.popleft()

    async def _ask_all(self) -> None:
        try:
            while self._waiting:
                first = self._fitting([item for item, _ in self._waiting])
                batch = [each for each in self._waiting[:first] if not each[1].done()]
                del self._waiting[:first]
                if batch:
                    await self._ask_for(batch)
        finally:
            self._asking -= 1  # here and not when the task is seen to be done: an item may come in between

    async def _ask_for(self, batch: Sequence[tuple[Item, "asyncio.Future[Answer]"]]) -> None:
        try:
            results: Sequence[Answer | Exception] = await self._ask([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - every caller is told, and judges it as if it had asked alone
            results = [error] * len(batch)
        except asyncio.CancelledError:
            for _, answer in batch:
                answer.cancel()
            raise
        _deliver(results, batch)
        del results, batch  # an error keeps this frame
        while self._unanswered and self._unanswered[0][1].done():
            self._unanswered.popleft()  # or what it was answered would be kept until its time is over


def _deliver(
    results: Sequence[Answer | Exception], batch: Sequence[tuple[Item, "asyncio.Future[Answer]"]]
) -> None:
    for (_, answer), result in zip(batch, results, strict=True):
        if answer.done():
            continue
        if isinstance(result, Exception):
            answer.set_exception(result)
        else:
            answer.set_result(result)
