"""The trace of the work at hand, and the log lines that carry it."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from shared.messages import Trace

_SANE_CORRELATION_ID: Final = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def trace_of(correlation_id: str | None, traceparent: str | None) -> Trace:
    """The caller's ids where they are sane, new ones otherwise."""
    digits = secrets.token_hex(40)  # asked for once: each time is a system call
    if not correlation_id or not _SANE_CORRELATION_ID.fullmatch(correlation_id):
        correlation_id = digits[:32]
    if not traceparent or not _TRACEPARENT.fullmatch(traceparent):
        traceparent = f"00-{digits[32:64]}-{digits[64:]}-01"
    return Trace(correlation_id=correlation_id, traceparent=traceparent)


@contextmanager
def logging_about(**fields: str) -> Iterator[None]:
    """Every log line of the block carries ``fields``, such as ``order_id`` and ``correlation_id``."""
    bound = structlog.contextvars.bind_contextvars(**fields)
    try:
        yield
    finally:
        structlog.contextvars.reset_contextvars(**bound)
