"""Messages whose properties cannot be read are delivered without them.

Brokers hand on whatever a producer wrote. The library takes a property that it cannot read, such as a
timestamp in microseconds or text that is not UTF-8, for a broken connection: measured, one such message cut
every connection that it was delivered on, spent the delivery counts of the orders around it until those were
dead-lettered, and then lay in a dead-letter queue into which nobody could look any more.

Nothing that a message says about itself is worth more than the connection that it came on.
"""

import struct
from datetime import datetime
from typing import Final

from pamqp import common, decode
from pamqp.header import ContentHeader

_UNREADABLE: Final = (ValueError, OverflowError, OSError, RecursionError, struct.error)

_read_header = ContentHeader.unmarshal
_read_short_text = decode.short_str
_read_timestamp = decode.timestamp


def deliver_unreadable_properties() -> None:
    """Makes the library read on, in this process. Doing it again changes nothing.

    The library has no place of its own for it: its readers stand in tables, and one in a class.
    """
    decode.METHODS["shortstr"] = _short_text
    decode.METHODS["timestamp"] = _timestamp
    decode.TABLE_MAPPING[b"T"] = _timestamp
    ContentHeader.unmarshal = _header  # type: ignore[assignment,method-assign]  # see above


def _short_text(value: bytes) -> tuple[int, str]:
    """What is not UTF-8 is left out, so that the rest is no longer than it came and can be sent on."""
    try:
        return _read_short_text(value)
    except UnicodeDecodeError:
        length = value[0]
        return length + 1, value[1 : length + 1].decode("utf-8", "ignore")


def _timestamp(value: bytes) -> tuple[int, datetime | None]:
    try:
        return _read_timestamp(value)
    except _UNREADABLE:
        return common.Struct.timestamp.size, None


def _header(header: ContentHeader, data: bytes) -> None:
    """The properties up to the first that cannot be read. How long the body is stands before them."""
    try:
        _read_header(header, data)
    except _UNREADABLE:
        if header.class_id is None:
            raise
