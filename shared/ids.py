"""Ids that the server makes: UUIDs of version 7, which sort by the time they were made."""

import secrets
import time
import uuid
from typing import Final

_NANOSECONDS_PER_MILLISECOND: Final = 1_000_000
_VERSION: Final = 0x7
_VARIANT: Final = 0b10


def time_ordered_id() -> str:
    """A UUID version 7 (RFC 9562): milliseconds, then 12 bits of the next one (method 3), then chance."""
    milliseconds, nanoseconds = divmod(time.time_ns(), _NANOSECONDS_PER_MILLISECOND)
    fraction = (nanoseconds << 12) // _NANOSECONDS_PER_MILLISECOND
    value = (milliseconds & (1 << 48) - 1) << 80
    value |= _VERSION << 76 | fraction << 64
    value |= _VARIANT << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))
