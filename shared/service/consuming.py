"""A service that is one function, see ``messaging.consumer``: its program, and the inbox that it asks for."""

import time
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from shared.messaging.consumer import EventConsumer
from shared.messaging.handlers import bounded
from shared.messaging.waiting import repeating
from shared.pipeline import consumption_of
from shared.redis.inbox import RedisInbox, RedisTransaction
from shared.service.program import Program
from shared.service.worker import UseCases, Worker, WorkerSettings, consumer
from shared.settings import Port, Seconds, settings_config
from shared.sql.inbox import SqlInbox

INBOX_SWEEP_SECONDS: Final = 3600.0


class FunctionSettings(WorkerSettings):
    """What such a service can be told besides; a function that takes longer for its events is cancelled."""

    handler_timeout_seconds: Seconds = 60.0


def consuming(told: EventConsumer) -> Program[FunctionSettings]:
    """The program of a service that is one function, with an inbox where that asks for a transaction."""
    row = consumption_of(told.service)

    class Settings(FunctionSettings):
        """Variables that begin with the service's name."""

        model_config = settings_config(f"{row.settings}_")

        ops_port: Port = row.operations_port

    def use_cases(worker: Worker[FunctionSettings]) -> UseCases:
        inbox = inbox_of(told, worker)
        handler = bounded(worker.own.handler_timeout_seconds)(told.handler(inbox))
        return UseCases(handlers=dict.fromkeys(told.events, handler), jobs=jobs_of(inbox))

    return consumer(row, Settings, use_cases)


def inbox_of(told: EventConsumer, worker: Worker[Any]) -> RedisInbox | SqlInbox | None:
    """What gives the function the transactions that it asks for. Raises TypeError where its row has no
    database for them.
    """
    kept, timeout_seconds = worker.common.order_retention_seconds, worker.own.store_timeout_seconds
    if told.transaction is None:
        return None
    if told.transaction is RedisTransaction:
        return RedisInbox(worker.redis, told.service, retention_seconds=kept, timeout_seconds=timeout_seconds)
    if told.transaction is not AsyncConnection or worker.database is None:
        raise TypeError(f"{told.service} asks for {told.transaction}, and its row of the map has no database")
    return SqlInbox(worker.database, retention_seconds=kept, clock=time.time)


def jobs_of(inbox: RedisInbox | SqlInbox | None) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
    """What an inbox needs besides: in Redis notes go by themselves, in SQL they are swept."""
    if not isinstance(inbox, SqlInbox):
        return ()
    return (partial(repeating, inbox.sweep, INBOX_SWEEP_SECONDS, what="the inbox"),)
