"""Lua scripts in files of their own beside the code that calls them, run by SHA in one round trip.

Redis runs a script alone and whole but does **not** roll back: each script makes every check before its
first write. They carry no ``#!lua`` line, which the in-process store of tests does not take.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from shared.errors import StoreUnavailable
from shared.redis.client import Redis, is_away, round_trip


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One run of a script: the keys it touches, then its arguments."""

    keys: Sequence[str]
    arguments: Sequence[str | int]


class Script:
    """A Lua script that is known by name."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()

    @classmethod
    def load(cls, package: str, name: str) -> "Script":
        """Reads ``{name}.lua`` from ``package``."""
        return cls(name, files(package).joinpath(f"{name}.lua").read_text(encoding="utf-8"))

    async def run(self, redis: Redis, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """Runs once and returns what the script returned. Raises ResponseError if the script failed."""
        (result,) = await self.run_many(redis, [ScriptCall(keys, arguments)])
        if isinstance(result, ResponseError):
            raise result
        return result

    async def run_many(self, redis: Redis, calls: Sequence[ScriptCall]) -> list[Any]:
        """Runs every call in one round trip. A call that failed has its ResponseError as its result.

        Raises StoreUnavailable as soon as one of them says that the store takes no writes.
        """
        results = await self._pipeline(redis, calls)
        missing = [index for index, result in enumerate(results) if isinstance(result, NoScriptError)]
        if missing:
            again = await self._pipeline(redis, [calls[index] for index in missing], whole=True)
            for index, result in zip(missing, again, strict=True):
                results[index] = result
        for result in results:
            if isinstance(result, ResponseError) and is_away(result):
                raise StoreUnavailable(f"Redis: {result}") from result
        return results

    async def _pipeline(self, redis: Redis, calls: Sequence[ScriptCall], *, whole: bool = False) -> list[Any]:
        """``whole`` sends the source along: a script that was loaded first could be forgotten in between."""
        head = ("EVAL", self.source) if whole else ("EVALSHA", self.sha)
        return await round_trip(redis, [(*head, len(c.keys), *c.keys, *c.arguments) for c in calls])
