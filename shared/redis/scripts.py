"""Lua scripts in files of their own beside the code that calls them, run by SHA in one round trip.

Redis runs a script alone and whole but does **not** roll back: each script makes every check before its
first write. Of the three things that could cut it in its middle, the script itself looks at types; memory is
looked at by Redis, at the first write only; and rights are looked at by a guard that is put before every
script here, from the commands that its own text calls once it has written. What is refused before has changed
nothing. They carry no ``#!lua`` line, which the in-process
store of tests does not take.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import dropwhile
from typing import Any, Final

from redis.exceptions import NoScriptError, ResponseError

from shared import keyspace
from shared.redis.client import BrokenKey, Redis, is_away, outage, round_trip
from shared.tracing import part

_CALL: Final = re.compile(r"redis\.p?call\('(\w+)'(?:,\s*([\w\[\]]+))?")
_NAMES: Final = re.compile(r"^local ([\w, ]+) = (KEYS\[[\w\[\], ]*\])$", re.MULTILINE)
_KEY: Final = re.compile(r"KEYS\[\d+\]")
_FUNCTION: Final = re.compile(r"^local function (\w+)\(.*?^end$", re.MULTILINE | re.DOTALL)
_STEP: Final = re.compile(rf"{_CALL.pattern}|\b(\w+)\(")
_LAST_KEY: Final = "KEYS[#KEYS]"
_ABOUT_LUA: Final = "user_script:"
_loaded: set[str] = set()


WORDS_OF_COMMANDS: Final = {
    "TIME": 1,
    **dict.fromkeys(
        (
            *("DEL", "EXISTS", "GET", "HGETALL", "HLEN", "PERSIST", "PTTL", "SCARD", "SMEMBERS"),
            *("TYPE", "XLEN", "ZCARD"),
        ),
        2,
    ),
    **dict.fromkeys(
        ("EXPIRE", "HDEL", "HEXISTS", "HGET", "HMGET", "MSET", "PEXPIRE", "SADD", "SET", "SISMEMBER", "SREM"),
        3,
    ),
    **dict.fromkeys(("ZREM", "ZSCORE"), 3),
    **dict.fromkeys(("HINCRBY", "HSET", "ZADD", "ZRANGE", "ZREMRANGEBYSCORE"), 4),
    "XADD": 5,
}
"""How many words a command has at least, with its name. Redis 8 refuses a question about one with fewer."""
READS: Final = frozenset(
    (
        *("EXISTS", "GET", "HEXISTS", "HGET", "HGETALL", "HLEN", "HMGET", "PTTL", "SISMEMBER", "SMEMBERS"),
        *("SCARD", "TIME", "TYPE", "XLEN", "ZCARD", "ZRANGE", "ZSCORE"),
    )
)
"""The commands among them that write nothing."""


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One run of a script: the keys it touches, then its arguments."""

    keys: Sequence[str]
    arguments: Sequence[str | int]


class Script:
    """A Lua script that is known by name. ``text`` is what is sent: the guard, then ``source``."""

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.span_name = f"redis {name}"
        self.source = source
        calls = calls_of(source)
        self.needs = frozenset(command for command, _ in calls)
        self.guarded = sorted(set(dropwhile(lambda call: call[0] in READS, calls)))
        self.text = _guard(self.guarded) + source
        _loaded.update(self.needs)
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    @classmethod
    def load(cls, package: str, name: str, *, head: str = "") -> "Script":
        """Reads ``{name}.lua`` from ``package``, once; ``head`` is what scripts of that package share."""
        return cls(name, head + _text(package, name))

    async def run(self, redis: Redis, keys: Sequence[str], arguments: Sequence[str | int]) -> Any:
        """Runs once and returns what the script returned. Raises StoreUnavailable, and BrokenKey."""
        (result,) = await self.run_many(redis, [ScriptCall(keys, arguments)])
        if isinstance(result, BrokenKey):
            raise result
        return result

    async def run_many(self, redis: Redis, calls: Sequence[ScriptCall]) -> list[Any]:
        """Runs every call in one round trip. A call that met a broken key of its own has BrokenKey as its
        result; any other error is the store's, and raises StoreUnavailable for all of them.
        """
        with part(self.span_name, "client"):
            results = await self._pipeline(redis, calls)
        missing = [index for index, result in enumerate(results) if isinstance(result, NoScriptError)]
        if missing:
            again = await self._pipeline(redis, [calls[index] for index in missing], whole=True)
            for index, result in zip(missing, again, strict=True):
                results[index] = result
        for index, result in enumerate(results):
            if isinstance(result, ResponseError):
                results[index] = await _judge(redis, calls[index], result)
        return results

    async def _pipeline(self, redis: Redis, calls: Sequence[ScriptCall], *, whole: bool = False) -> list[Any]:
        """``whole`` sends the text along: a script that was loaded first could be forgotten in between."""
        head = ("EVAL", self.text) if whole else ("EVALSHA", self.sha)
        return await round_trip(redis, [(*head, len(c.keys), *c.keys, *c.arguments) for c in calls])


async def _judge(redis: Redis, call: ScriptCall, error: ResponseError) -> BrokenKey:
    """Whether the call met a broken key of its own. Raises StoreUnavailable where that cannot be shown."""
    if is_away(error):
        raise outage(error) from error
    if _ABOUT_LUA in str(error).partition(" script: ")[0]:
        return BrokenKey(str(error))
    own = [(key, kind) for key in call.keys if (kind := keyspace.kind_of_own(key)) is not None]
    types = await round_trip(redis, [("TYPE", key) for key, _ in own])
    numbers = await round_trip(redis, [("HMGET", key, *keyspace.NUMBERS) for key, _ in own])
    for (key, kind), found, values in zip(own, types, numbers, strict=True):
        if isinstance(found, Exception):
            raise outage(found) from found
        if found not in {"none", kind}:
            return BrokenKey(f"{key} is a {found}: {error}")
        if kind == "hash" and not all(map(_is_number, values)):
            return BrokenKey(f"{key} has no number where one is needed: {error}")
    raise outage(error) from error


def _is_number(value: str | None) -> bool:
    return value is None or re.fullmatch(r"-?\d{1,18}", value) is not None


def questions_of_loaded(key: str) -> list[tuple[str, Sequence[str]]]:
    """Each command of every script that this process has loaded, in words, then as it would be run."""
    words = {name: (name, key, "", "", "")[: WORDS_OF_COMMANDS.get(name, 2)] for name in sorted(_loaded)}
    return [(f"run {name}", question) for name, question in words.items()]


@cache
def _text(package: str, name: str) -> str:
    return files(package).joinpath(f"{name}.lua").read_text(encoding="utf-8")


@cache
def calls_of(source: str) -> Sequence[tuple[str, str]]:
    """The commands that a script calls, in the order of its text, a function's where it is called.

    Each comes with the key that the text names, the last key for others, since keys of items come last.
    """
    code = re.sub(r"--[^\n]*", "", source)
    names: dict[str, str] = {}
    for left, right in _NAMES.findall(code):
        names |= dict(zip(left.split(", "), right.split(", "), strict=False))
    functions = {found[1]: found[0].partition("(")[2] for found in _FUNCTION.finditer(code)}

    def steps(text: str) -> Iterator[tuple[str, str]]:
        for command, first, function in _STEP.findall(text):
            if command:
                key = names.get(first, first)
                yield command.upper(), key if _KEY.fullmatch(key) else _LAST_KEY
            elif function in functions:
                yield from steps(functions[function])

    return tuple(steps(_FUNCTION.sub("", code)))


def _guard(needs: Sequence[tuple[str, str]]) -> str:
    """Refuses the whole script where a right is missing (Redis 7; older ones cannot be asked)."""
    questions = [_question(command, key) for command, key in needs]
    asked = " and ".join(f"may({question})" for question in questions)
    listed = ", ".join(f"{{{question}}}" for question in questions)
    if not asked:
        return ""
    return (
        f"local may = redis.acl_check_cmd if may and not ({asked}) then "
        f"for _, need in ipairs({{{listed}}}) do if not may(unpack(need)) then "
        "return redis.error_reply('NOPERM no right to run ' .. need[1]) end end end\n"
    )


def _question(command: str, key: str) -> str:
    """The words of a command in Lua, as few as it may have."""
    words = [f"'{command}'", f"{key} or KEYS[1] or ''", "''", "''", "''"]
    return ", ".join(words[: WORDS_OF_COMMANDS.get(command, 2)])
