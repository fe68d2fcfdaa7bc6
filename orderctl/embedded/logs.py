"""One log per service although they share a process, so that `orderctl logs` is the same in every mode."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from logging.handlers import RotatingFileHandler

from structlog.contextvars import get_contextvars

from orderctl.native.layout import LOG_ROTATE_BYTES, Layout
from shared.logs import log_through_handlers

OLDER_LOGS = 1


class _ByService(logging.Handler):
    """Hands each line to the log of the service in whose context it was written."""

    def __init__(self, logs: Mapping[str, logging.Handler], otherwise: logging.Handler) -> None:
        super().__init__()
        self._logs = logs
        self._otherwise = otherwise

    def emit(self, record: logging.LogRecord) -> None:
        service = str(get_contextvars().get("service"))
        self._logs.get(service, self._otherwise).handle(record)


@contextmanager
def logs_by_service(layout: Layout, services: Sequence[str]) -> Iterator[None]:
    """Writes each service's lines into its own log, and the rest where it went before."""
    root = logging.getLogger()
    (before,) = root.handlers
    with ExitStack() as stack:
        logs: dict[str, logging.Handler] = {}
        for name in services:
            path = layout.log(name)
            log = RotatingFileHandler(
                path, maxBytes=LOG_ROTATE_BYTES, backupCount=OLDER_LOGS, encoding="utf-8"
            )
            log.setFormatter(before.formatter)
            logs[name] = stack.enter_context(closing(log))
        root.handlers[:] = [_ByService(logs, before)]
        log_through_handlers()
        try:
            yield
        finally:
            root.handlers[:] = [before]
