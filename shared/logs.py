"""Structured logs on stdout: JSON for machines, colours for a terminal.

A line carries whatever ``structlog.contextvars`` holds, such as the correlation id of the request or the
ids of the message at hand.
"""

import logging
import sys
from typing import Final, TextIO

import structlog

SILENT_LIBRARIES = ("aiormq", "aio_pika")
"""They log an error per refused connection; the link that supervises them says once that nobody answers."""


_STEPS: Final[list[structlog.typing.Processor]] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure_logs(service: str, level: str, form: str | None, stream: TextIO = sys.stdout) -> None:
    """Sends every log line of this process, the libraries' included, to ``stream``.

    ``form`` is ``json`` or ``console``; None means console on a terminal and JSON elsewhere. Our own JSON
    lines go straight to the stream: the standard library's way there costs more than all the rest of a line.
    """
    as_json = form == "json" or (form is None and not stream.isatty())
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    last_steps: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, renderer] if as_json else [renderer]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_STEPS,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last_steps],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    if as_json:
        structlog.configure(
            processors=[*_STEPS, *last_steps],
            logger_factory=lambda *_: _Lines(handler),
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


def log_through_handlers() -> None:
    """Sends our own lines the way of the libraries', for somebody who replaces the root's handlers."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_STEPS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


class _Lines:
    """Writes lines to the stream of a handler, in turns with it."""

    def __init__(self, handler: "logging.StreamHandler[TextIO]") -> None:
        self._handler = handler

    def _write(self, line: str) -> None:
        handler = self._handler
        handler.acquire()
        try:
            handler.stream.write(f"{line}\n")
            handler.flush()
        except (OSError, ValueError):  # a full disk, a closed stream: as the handler takes it itself
            handler.handleError(logging.makeLogRecord({"msg": line}))
        finally:
            handler.release()

    debug = info = warning = error = critical = exception = _write


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger of a module, whose name its lines do not carry: what they say of orders is looked for."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
