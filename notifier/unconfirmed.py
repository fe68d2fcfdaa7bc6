"""Letters that the receiving side has and has not answered: that may take minutes (RFC 5321, 4.5.3.2.6)."""

import asyncio
from collections.abc import Sequence

from notifier.ports import Attempt, HandedOver, NotificationStore, OutcomeUnknown
from shared.errors import PermanentError, RetryableError, SenderUnavailable
from shared.logs import get_logger
from shared.messaging.waiting import waiting_out

log = get_logger(__name__)


class UnconfirmedLetters:
    """Follows at most ``limit`` letters to their answers, each on a connection of its own."""

    def __init__(self, store: NotificationStore, *, limit: int) -> None:
        self._store = store
        self._limit = limit
        self._awaited: set[asyncio.Task[None]] = set()

    async def follow(
        self, attempts: Sequence[Attempt], handed: HandedOver, given_up: "asyncio.Future[None]"
    ) -> None:
        """Returns once there is room to follow it, or once the caller has been given up."""
        while len(self._awaited) >= self._limit and not given_up.done():
            await asyncio.wait({given_up, *self._awaited}, return_when=asyncio.FIRST_COMPLETED)
        if given_up.done():
            handed.answer.cancel()
            return
        task = asyncio.get_running_loop().create_task(self._record_answer(attempts, handed))
        self._awaited.add(task)
        task.add_done_callback(self._forget)

    async def run(self) -> None:
        """Waits for no answer any more once it is cancelled: the records say what is unknown."""
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            for task in self._awaited:
                task.cancel()
            await asyncio.gather(*self._awaited, return_exceptions=True)

    def _forget(self, task: "asyncio.Task[None]") -> None:
        self._awaited.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("answer not recorded", error=repr(error))

    async def _record_answer(self, attempts: Sequence[Attempt], handed: HandedOver) -> None:
        event_id = attempts[0].notification.id
        try:
            await handed.answer
        except OutcomeUnknown as error:
            log.warning("letter unconfirmed", event_id=event_id, reason=str(error))
            return
        except (PermanentError, RetryableError, SenderUnavailable) as error:
            text, is_final = str(error), isinstance(error, PermanentError)
            await waiting_out(lambda: self._store.refuse_late(attempts, text, is_final=is_final))
            return
        await waiting_out(lambda: self._store.mark_sent(attempts))
