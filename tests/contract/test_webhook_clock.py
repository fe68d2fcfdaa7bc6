"""Leases and retries go by the database's clock, whatever a replica's machine believes."""

import time
from pathlib import Path

import pytest

from shared.errors import DatabaseUnavailable
from shared.sql.database import open_database
from webhooks.clock import DatabaseClock
from webhooks.model import SECOND

A_YEAR = 365 * 86_400 * SECOND


async def test_it_is_the_databases_and_not_known_before_that_was_asked(
    database_url: str, tmp_path: Path
) -> None:
    """It goes on by itself until it is read again."""
    elapsed = A_YEAR
    async with open_database(database_url, tmp_path, timeout_seconds=10.0) as database:
        clock = DatabaseClock(database, elapsed=lambda: elapsed)
        with pytest.raises(DatabaseUnavailable, match="was not read yet"):
            clock()
        await clock.look()
        first = clock()
        assert abs(first - time.time() * SECOND) < 60 * SECOND  # the same machine's here
        elapsed += 5 * SECOND
        assert clock() == first + 5 * SECOND
