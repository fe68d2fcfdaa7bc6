"""Transactions that must not run beside one another, although no row stands for what they are about."""

import zlib

from sqlalchemy import Connection, text


def take_turns(connection: Connection, what: str) -> None:
    """Waits for other transactions about ``what``, and has others wait until this one ends.

    SQLite's transactions are one after the other in any case.
    """
    if connection.dialect.name == "postgresql":
        key = zlib.crc32(what.encode())
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
