"""Structured logs on stdout: JSON for machines, colours for a terminal.

A line carries whatever ``structlog.contextvars`` holds, such as the correlation id of the request or the
ids of the message at hand, and the trace that it belongs to, where one is recorded. Lines of one turn of the
event loop are written together, at its end.
"""

import asyncio
import logging
import sys
import threading
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import orjson
import structlog

from shared.tracing import current_span

SILENT_LIBRARIES = ("aiormq", "aio_pika")
"""They log an error per refused connection; the link that supervises them says once that nobody answers."""


def with_trace(_logger: Any, _level: str, fields: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Adds the trace that the work at hand is recorded in, if it is in one and the line names no other."""
    if (span := current_span()) is not None:
        fields.setdefault("trace_id", span.trace_id)
    return fields


_STEPS: Final[list[structlog.typing.Processor]] = [
    structlog.contextvars.merge_contextvars,
    with_trace,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]
_JSON: Final = structlog.processors.JSONRenderer()


def configure_logs(service: str, level: str, form: str | None, stream: TextIO = sys.stdout) -> None:
    """Sends every log line of this process, the libraries' included, to ``stream``.

    ``form`` is ``json`` or ``console``; None means console on a terminal and JSON elsewhere. Our own JSON
    lines go straight to the stream: the standard library's way there costs more than all the rest of a line.
    """
    as_json = form == "json" or (form is None and not stream.isatty())
    steps: list[structlog.typing.Processor] = (
        [_json_line] if as_json else [*_STEPS, structlog.dev.ConsoleRenderer()]
    )
    handler = _LinesByTurn(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *steps]
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    if as_json:
        structlog.configure(
            processors=steps,
            logger_factory=lambda *_: handler,
            wrapper_class=structlog.make_filtering_bound_logger(root.level),
            cache_logger_on_first_use=False,  # who replaces the handlers afterwards is heard at once
        )
    else:
        log_through_handlers()
    for name in SILENT_LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service)


def _json_line(logger: Any, level: str, fields: structlog.typing.EventDict) -> str:
    """All steps at once: one after the other they cost twice as much. It is ASCII, whatever reads it."""
    fields = with_trace(logger, level, structlog.contextvars.merge_contextvars(logger, level, fields))
    if "exc_info" in fields:
        fields = structlog.processors.format_exc_info(logger, level, fields)
    fields["level"] = level
    fields["timestamp"] = now = datetime.now(UTC)
    try:
        line = orjson.dumps(fields, option=orjson.OPT_UTC_Z).decode()
    except (TypeError, UnicodeEncodeError):
        line = ""
    if line and line.isascii():
        return line
    fields["timestamp"] = now.isoformat().replace("+00:00", "Z")
    return str(_JSON(logger, level, fields))


def log_through_handlers() -> None:
    """Sends our own lines the way of the libraries', for somebody who replaces the root's handlers."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def flush_logs() -> None:
    """Writes what this turn of the loop has logged, for work that has to wait until its lines are out.

    Raises OSError where a line since the last call could not be written, as on a full disk.
    """
    for handler in logging.getLogger().handlers:
        handler.flush()
        if isinstance(handler, _LinesByTurn):
            handler.raise_if_lost()


class _LinesByTurn(logging.StreamHandler[TextIO]):
    """Writes the lines of one turn of the event loop with one call to the system.

    Without a loop, as in threads, and from errors on, a line is written at once, with those before it.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._writing = threading.RLock()
        self._lines: list[str] = []
        self._fault: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        """Which is going to write what there is."""

    def emit(self, record: logging.LogRecord) -> None:
        """Takes a line of a library."""
        try:
            (self.info if record.levelno < logging.ERROR else self.error)(self.format(record))
        except Exception:  # noqa: BLE001 - as in every handler: a line that cannot be formatted is no error
            self.handleError(record)

    def info(self, line: str) -> None:
        """Takes a line, to be written soon."""
        with self._writing:
            self._lines.append(line)
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                self.flush()
            else:
                if loop is not self._loop:
                    self._loop = loop
                    loop.call_soon(self.flush)

    def error(self, line: str) -> None:
        """Takes a line, and writes it at once."""
        with self._writing:
            self._lines.append(line)
            self.flush()

    debug = warning = info
    critical = exception = error

    def raise_if_lost(self) -> None:
        """Raises OSError, once, where a line could not be written."""
        fault, self._fault = self._fault, None
        if fault is not None:
            raise OSError(f"the log cannot be written: {fault}") from fault

    def flush(self) -> None:
        """Writes what there is."""
        with self._writing:
            lines, self._lines, self._loop = self._lines, [], None
            try:
                if lines:
                    self.stream.write("\n".join([*lines, ""]))
                self.stream.flush()
            except (
                OSError,
                ValueError,
            ) as fault:  # a full disk, a closed stream: as in every handler
                self._fault = fault
                self.handleError(logging.makeLogRecord({"msg": lines[0] if lines else ""}))


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger of a module, whose name its lines do not carry: what they say of orders is looked for."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
