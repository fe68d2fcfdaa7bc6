"""Ids that the server makes are UUIDs of version 7: unique, and sorted by time."""

import re
import time
import uuid

from shared.ids import time_ordered_id
from shared.messages import IDENTIFIER_PATTERN


def test_an_id_is_a_uuid_of_version_7() -> None:
    """As RFC 9562 has it, and as an order's id may look."""
    order_id = time_ordered_id()
    parsed = uuid.UUID(order_id)
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert re.fullmatch(IDENTIFIER_PATTERN, order_id)


def test_an_id_begins_with_the_time() -> None:
    """Milliseconds since the epoch, in 48 bits."""
    before = time.time_ns() // 1_000_000
    milliseconds = uuid.UUID(time_ordered_id()).int >> 80
    assert before <= milliseconds <= time.time_ns() // 1_000_000


def test_ids_made_one_after_the_other_sort_so() -> None:
    """To within the quarter of a microsecond that the twelve bits after the milliseconds tell apart."""
    ids = [time_ordered_id() for _ in range(1_000)]
    assert len(set(ids)) == 1_000
    times = [uuid.UUID(order_id).int >> 64 for order_id in ids]
    assert times == sorted(times)
