"""Structured logs on stdout: JSON for machines, colours for a terminal.

A line carries whatever ``structlog.contextvars`` holds, such as the correlation id of the request or the
ids of the message at hand.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import TextIO, cast

import structlog

SILENT_LIBRARIES = ("aiormq", "aio_pika")
"""They log an error per refused connection; the link that supervises them says once that nobody answers."""


def configure_logs(service: str, level: str, form: str | None, stream: TextIO = sys.stdout) -> None:
    """Sends every log line of this process, the libraries' included, to ``stream``.

    ``form`` is ``json`` or ``console``; None means console on a terminal and JSON elsewhere.
    """
    as_json = form == "json" or (form is None and not stream.isatty())
    shared_steps: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    last_steps: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, renderer] if as_json else [renderer]
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared_steps,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared_steps,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last_steps],
        )
    )
    if as_json:  # our own lines need nothing of the standard library's, which costs more than all the rest
        structlog.configure(
            processors=[*shared_steps, structlog.processors.format_exc_info, renderer],
            logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _ToleratedStream(stream))),
            wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
            cache_logger_on_first_use=False,  # a logger that is kept would keep a stream that may be closed
        )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in SILENT_LIBRARIES:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines name the module that wrote them."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


class _ToleratedStream:
    """A stream that may be full or closed: a line that cannot be written ends nobody's work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Writes, or says on stderr that it could not."""
        with self._tolerance():
            self._stream.write(text)

    def flush(self) -> None:
        """Flushes, or says on stderr that it could not."""
        with self._tolerance():
            self._stream.flush()

    @contextlib.contextmanager
    def _tolerance(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # a closed stream raises ValueError
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.write(f"a log line could not be written: {error}\n")
