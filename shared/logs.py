"""Structured logs on stdout: JSON for machines, colours for a terminal.

A line carries whatever ``structlog.contextvars`` holds, such as the correlation id of the request or the
ids of the message at hand.
"""

import logging
import sys
from typing import TextIO

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
