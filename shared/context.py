"""The trace of the work at hand, and the log lines that carry it."""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextvars import Token
from types import TracebackType
from typing import Any, Final

import structlog

from shared.messages import Trace
from shared.tracing import is_sane

_SANE_CORRELATION_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
DRAWN_AT_ONCE: Final = 64


def trace_of(correlation_id: str | None, traceparent: str | None) -> Trace:
    """The caller's ids where they are sane, new ones otherwise."""
    if not correlation_id or not _SANE_CORRELATION_ID.fullmatch(correlation_id):
        correlation_id = next(_DRAWN)[:32]
    if not traceparent or not is_sane(traceparent):
        digits = next(_DRAWN)
        traceparent = f"00-{digits[:32]}-{digits[32:]}-01"
    return Trace(correlation_id=correlation_id, traceparent=traceparent)


def _draw() -> Iterator[str]:
    """48 digits at a time that were never given out: drawing each for itself is a call to the system."""
    while True:
        digits = secrets.token_hex(24 * DRAWN_AT_ONCE)
        yield from (digits[begin : begin + 48] for begin in range(0, len(digits), 48))


_DRAWN: Final = _draw()


class logging_about:  # noqa: N801 - used as the statement that it is; a generator costs twice as much
    """Every log line of the block carries ``fields``, such as ``order_id`` and ``correlation_id``."""

    __slots__ = ("_bound", "_fields")

    def __init__(self, **fields: str) -> None:
        self._fields = fields
        self._bound: Mapping[str, Token[Any]] = {}

    def __enter__(self) -> None:
        self._bound = structlog.contextvars.bind_contextvars(**self._fields)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        structlog.contextvars.reset_contextvars(**self._bound)
