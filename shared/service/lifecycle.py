"""The life of a service process, the same for all: start, run, drain on a signal, end.

A first SIGTERM or SIGINT asks for a drain; a second one ends the process at once. A background task that
crashes ends the process with a non-zero status, so that whatever supervises it starts it again.
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from shared import failpoints
from shared.logs import configure_logs, flush_logs, get_logger
from shared.settings import CommonSettings, TracingSettings
from shared.tracing import Sampling, Tracing, tracing_by

EXIT_CRASHED = 1
EXIT_SECOND_SIGNAL = 130
COLLECT_AFTER = (10_000, 20, 50)
"""Objects until the youngest are looked through for cycles, and how often the older ones are."""

log = get_logger(__name__)


def run_service(name: str, common: CommonSettings, main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Runs ``main`` until it returns, handing it the event that asks it to stop; then ends the process."""
    configure_logs(name, common.log_level, common.log_format)
    failpoints.arm(common.failpoint)
    _collect_rarely()
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(name, main))
    except Exception as error:  # the last line of defence: say what ended the service, and how
        for leaf in _leaves(error):
            log.error("service crashed", error=f"{type(leaf).__name__}: {leaf}", exc_info=leaf)
        sys.exit(EXIT_CRASHED)


def _collect_rarely() -> None:
    """What was imported is never garbage, and what a batch makes is freed without the collector."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - absent on some platforms, where asyncio's own loop serves
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _run(name: str, main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(signal_number: int) -> None:
        if stop.is_set():
            with contextlib.suppress(OSError):
                flush_logs()
            os._exit(EXIT_SECOND_SIGNAL)
        log.info("draining", signal=signal.Signals(signal_number).name)
        stop.set()

    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, on_signal, signal_number)
    log.info("starting", pid=os.getpid())
    await main(stop)
    log.info("stopped")


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in _leaves(inner)]
    return [error]


@asynccontextmanager
async def traced(service: str, settings: TracingSettings) -> AsyncIterator[None]:
    """Has the block begin and send spans of ``service``, if the settings name a collector; the last of them
    are waited for briefly at its end.
    """
    url = settings.traces_url
    if url is None:
        yield
        return
    from shared.otlp import open_export  # noqa: PLC0415 - who does not trace pays nothing, not even an import

    export = open_export(service, settings, url)
    sampling = Sampling(settings.otel_traces_sampler, settings.otel_traces_sampler_arg)
    try:
        with tracing_by(Tracing(sampling, export)):
            yield
    finally:
        await asyncio.to_thread(export.close)


@asynccontextmanager
async def running(*tasks: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs ``tasks`` beside the block and cancels them after it; one that crashes cancels the block."""
    async with asyncio.TaskGroup() as group:
        started = [group.create_task(task) for task in tasks]
        try:
            yield
        finally:
            for task in started:
                task.cancel()


async def drained(work: Coroutine[Any, Any, None], stop: asyncio.Event, drain_seconds: float) -> None:
    """Runs ``work``, which ends by itself after ``stop``; what is not done by ``drain_seconds`` is cancelled.

    What was cancelled is delivered again to another consumer, so nothing is lost by it.
    """
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait({task}, timeout=drain_seconds)
        if not task.done():
            log.warning("drain deadline passed, leaving the rest for redelivery", seconds=drain_seconds)
            return
        await task
    finally:
        stopping.cancel()
        task.cancel()
        await asyncio.gather(stopping, task, return_exceptions=True)
