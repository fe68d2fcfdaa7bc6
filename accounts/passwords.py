"""Passwords: kept as argon2id hashes, compared in threads, two at a time.

One hash takes some 110 ms and 64 MiB, on purpose. So a client waits for a place, and is turned
away after a second.
"""

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from shared.http.limits import HeavyWork

AT_ONCE: Final = 2
_NOBODYS: Final = "the password of an account that does not exist"

Result = TypeVar("Result")


class Passwords:
    """Hashes and compares. To be closed after use."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="argon2")
        self._places = HeavyWork(at_once=AT_ONCE)
        self._decoy = self._hasher.hash(_NOBODYS)

    async def hash(self, password: str, client: str) -> str:
        """What is kept of it. Raises Problem with 503 where too many ask at once."""
        return await self._in_turn(client, lambda: self._hasher.hash(_normal(password)))

    async def match(
        self, password: str, kept: str | None, client: str, before: Callable[[], None] = lambda: None
    ) -> bool:
        """Whether it is the one of which ``kept`` was made; without one, after the same work, it is not.

        ``before`` is called once it is this client's turn, and may raise.
        """

        def compare() -> bool:
            try:
                self._hasher.verify(kept or self._decoy, _normal(password))
            except (VerificationError, InvalidHashError):
                return False
            return kept is not None

        return await self._in_turn(client, compare, before)

    def is_outdated(self, kept: str) -> bool:
        """Whether it was made with less work than hashes take by now."""
        return self._hasher.check_needs_rehash(kept)

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_turn(
        self, client: str, work: Callable[[], Result], before: Callable[[], None] = lambda: None
    ) -> Result:
        async with self._places.turn(client):
            before()
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _normal(password: str) -> str:
    """The same, whichever way a keyboard composes its characters."""
    return unicodedata.normalize("NFKC", password)
