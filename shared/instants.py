"""Times as clients write them: RFC 3339, with a zone."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

PATTERN: Final = (
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_TIME: Final = re.compile(PATTERN)
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_NO_TIME: Final = "must be a time with its zone, such as 2030-01-31T09:00:00Z"


def read_instant(value: str) -> int:
    """In microseconds since the epoch; what is finer is cut off. Raises ValueError."""
    parts = _TIME.fullmatch(value)
    if parts is None:
        raise ValueError(_NO_TIME)
    try:
        zone = "+00:00" if parts[4] in "Zz" else parts[4]
        time = datetime.fromisoformat(f"{parts[1]}T{parts[2]}.{(parts[3] or '')[:6]:0<6}{zone}")
        return (time.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise ValueError(_NO_TIME) from None
