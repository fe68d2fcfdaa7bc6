"""What a line of a log says, in the form of each part: when, how grave, by which part, about which order.

The services write JSON, brokers and stores each their own form. A line without a time of its own, such as one
of a traceback or a banner, belongs to the entry above it.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from orderctl.errors import UsageError


class UnclearTimeError(UsageError):
    """Raised when a time that was asked for cannot be read; nothing was tried."""


class Level(StrEnum):
    """How grave an entry is, from what only developers look for to what ends a process."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


_GRAVITY: Final = {level: gravity for gravity, level in enumerate(Level)}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """One entry. `text` is its own line, `below` are the lines that follow it without a time."""

    at: datetime
    level: Level
    service: str
    event: str
    fields: Mapping[str, Any]
    text: str
    below: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The entry as one object, alike for all parts."""
        at = self.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        told = {"timestamp": at, "level": self.level, "service": self.service, "event": self.event}
        return {**told, **self.fields, **({"below": self.below} if self.below else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFilter:
    """Which entries are wanted. An order's are those that name its id, in whichever field or words."""

    order_id: str | None = None
    level: Level = Level.DEBUG
    since: datetime | None = None

    def takes(self, entry: LoggedEvent) -> bool:
        """Whether the entry is wanted."""
        return (
            _GRAVITY[entry.level] >= _GRAVITY[self.level]
            and (self.since is None or entry.at >= self.since)
            and (self.order_id is None or self.names_order("\n".join((entry.text, *entry.below))))
        )

    def names_order(self, text: str) -> bool:
        """Whether the text has the order's id as a word; True where no order is asked for."""
        if self.order_id is None:
            return True
        word = rf"(?<![\w.-]){re.escape(self.order_id)}(?![\w-]|\.\w)"
        return self.order_id in text and re.search(word, text) is not None


def read_line(part: str, line: str) -> LoggedEvent | None:
    """The entry that a line of a part's log begins; None for one that belongs to the entry above."""
    if line.startswith("{") and (entry := _json_entry(part, line)):
        return entry
    for form, at, level in _FORMS:
        if found := form.search(line):
            try:
                said = found.groupdict()
                return LoggedEvent(
                    at=at(said["at"]),
                    level=level(said.get("level", "")),
                    service=part,
                    event=said["event"],
                    fields={},
                    text=line,
                )
            except ValueError:
                continue
    return None


def moment(text: str, now: datetime, option: str = "--since") -> datetime:
    """What the option means: 90s, 5m, 2h or 3d before now, or a time by RFC 3339.

    Raises UnclearTimeError.
    """
    if ago := re.fullmatch(r"(\d{1,6})([smhd])", text):
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[ago[2]]
        return now - timedelta(**{unit: int(ago[1])})
    try:
        return _iso(text)
    except ValueError as error:
        raise UnclearTimeError(f"{option} {text}: write it as 5m, 2h, 3d or 2030-01-31T09:00:00Z") from error


def _json_entry(part: str, line: str) -> LoggedEvent | None:
    try:
        fields = json.loads(line)
        at = _iso(fields.pop("timestamp"))
        event, level = str(fields.pop("event", "")), _BY_NAME(str(fields.pop("level", "")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    service = str(fields.pop("service", part))
    return LoggedEvent(at=at, level=level, service=service, event=event, fields=fields, text=line)


def _iso(text: str) -> datetime:
    """A time with its offset, that of UTC where it has none."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _of_redis(text: str) -> datetime:
    return datetime.strptime(text, "%d %b %Y %H:%M:%S.%f").replace(tzinfo=UTC)


def _of_signal(text: str) -> datetime:
    return datetime.fromtimestamp(int(text), UTC)


def _named(levels: Mapping[str, Level]) -> Callable[[str], Level]:
    return lambda name: levels.get(name, Level.INFO)


_BY_NAME: Final = _named({level.value: level for level in Level})
_OF_REDIS: Final = _named({".": Level.DEBUG, "-": Level.DEBUG, "#": Level.WARNING})
_OF_POSTGRES: Final = _named(
    {"WARNING": Level.WARNING, "ERROR": Level.ERROR, "FATAL": Level.ERROR, "PANIC": Level.CRITICAL}
)
_FORMS: Final = (
    # RabbitMQ, whose first words may stand behind a banner without a line break.
    (
        re.compile(
            r"(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+[+-]\d\d:\d\d) "
            r"\[(?P<level>\w+)\] <[\d.]+> (?P<event>.*)"
        ),
        _iso,
        _BY_NAME,
    ),
    # Redis, whose clock is set to UTC where we start it, and in containers.
    (
        re.compile(
            r"^\d+:[XCSM] (?P<at>\d\d \w{3} \d{4} \d\d:\d\d:\d\d\.\d+) (?P<level>[.*#-]) (?P<event>.*)"
        ),
        _of_redis,
        _OF_REDIS,
    ),
    (re.compile(r"^\d+:signal-handler \((?P<at>\d+)\) (?P<event>.*)"), _of_signal, _BY_NAME),
    # PostgreSQL; DETAIL, HINT, STATEMENT and CONTEXT belong to the entry above.
    (
        re.compile(
            r"^(?P<at>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+) (?:UTC|GMT) \[\d+\] "
            r"(?P<level>(?!DETAIL|HINT|STATEMENT|CONTEXT|QUERY)[A-Z]+\d?):  (?P<event>.*)"
        ),
        _iso,
        _OF_POSTGRES,
    ),
    # The supervisor.
    (
        re.compile(r"^(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*(?:Z|[+-]\d\d:\d\d)) (?P<event>.*)"),
        _iso,
        _BY_NAME,
    ),
)
