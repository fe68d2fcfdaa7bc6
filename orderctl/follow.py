"""The logs of several parts as one stream, merged by time."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import BinaryIO

from orderctl.log_lines import Level, LogFilter, LoggedEvent, read_line

POLL_SECONDS = 0.3
BLOCK_BYTES = 64 * 1024
OLDER_SUFFIXES = (".log.1",)

Show = Callable[[LoggedEvent], None]
Files = Mapping[str, Path]


def latest(files: Files, wanted: LogFilter, most: int | None) -> Sequence[LoggedEvent]:
    """The latest wanted entries of each log, merged by time, oldest first; no more is read than is needed."""
    found: list[LoggedEvent] = []
    for part, path in files.items():
        found += reversed(list(islice(filter(wanted.takes, _newest_first(part, path, wanted)), most)))
    return sorted(found, key=_time)


def follow(files: Callable[[], Files], wanted: LogFilter, most: int | None, show: Show) -> None:
    """Show the latest wanted entries, then what any part adds, until interrupted."""
    ends = {part: FollowedFile(part, path, at_end=True) for part, path in files().items()}
    try:
        begun = latest(files(), wanted, most)
        for entry in begun:
            show(entry)
        shown = {entry.text for entry in begun}  # some may have been written since the ends were noted
        while True:
            added = chain.from_iterable(each.added() for each in ends.values())
            for entry in sorted(filter(wanted.takes, added), key=_time):
                if entry.text not in shown:
                    show(entry)
            shown = set()
            time.sleep(POLL_SECONDS)
            for part, path in files().items():
                if part not in ends:
                    ends[part] = FollowedFile(part, path, at_end=False)
    except KeyboardInterrupt:
        return
    finally:
        for each in ends.values():
            each.close()


def follow_lines(lines: Iterable[tuple[str, str]], wanted: LogFilter, show: Show) -> None:
    """Show the wanted entries of lines that come with the name of their part, until they end."""
    grouped: dict[str, GroupedLines] = {}
    for part, line in lines:
        entries = grouped.setdefault(part, GroupedLines(part)).entries((line,))
        for entry in filter(wanted.takes, entries):
            show(entry)


class FollowedFile:
    """A log that grows, and is cut off or replaced under its readers once it is long."""

    def __init__(self, part: str, path: Path, *, at_end: bool) -> None:
        self._path = path
        self._lines = GroupedLines(part)
        self._rest = b""
        self._stream: BinaryIO = path.open("rb")
        if at_end:
            self._stream.seek(0, 2)

    def added(self) -> Sequence[LoggedEvent]:
        """The entries that were added since the last call."""
        *complete, self._rest = (self._rest + self._stream.read()).split(b"\n")
        if self._path.exists() and self._path.stat().st_size < self._stream.tell():
            self._stream.close()
            self._stream = self._path.open("rb")
        return self._lines.entries(line.decode("utf-8", "replace") for line in complete)

    def close(self) -> None:
        self._stream.close()


class GroupedLines:
    """Lines of one part as they come, as entries; one without a time has that of the line before it."""

    def __init__(self, part: str) -> None:
        self._part = part
        self._above: LoggedEvent | None = None

    def entries(self, lines: Iterable[str]) -> Sequence[LoggedEvent]:
        """The entries of these lines, which follow those of the last call."""
        found: list[LoggedEvent] = []
        for line in lines:
            if entry := read_line(self._part, line):
                found.append(entry)
                self._above = entry
            elif line and found:
                found[-1] = replace(found[-1], below=(*found[-1].below, line))
            elif line:
                found.append(_without_time(self._part, line, self._above))
        return found


def _without_time(part: str, line: str, above: LoggedEvent | None) -> LoggedEvent:
    at, level = (above.at, above.level) if above else (datetime.now(UTC), Level.INFO)
    return LoggedEvent(at=at, level=level, service=part, event=line, fields={}, text=line)


def _newest_first(part: str, path: Path, wanted: LogFilter) -> Iterator[LoggedEvent]:
    entries = chain.from_iterable(
        _entries_upwards(part, each, wanted)
        for each in (path, *(path.with_suffix(suffix) for suffix in OLDER_SUFFIXES))
        if each.is_file()
    )
    since = wanted.since
    return entries if since is None else takewhile(lambda entry: entry.at >= since, entries)


def _entries_upwards(part: str, path: Path, wanted: LogFilter) -> Iterator[LoggedEvent]:
    """Each entry of a file from its end on. What names another order in JSON is not even read."""
    below: list[str] = []
    at: datetime | None = None
    for line in _lines_upwards(path):
        if line.startswith("{") and not below and not wanted.names_order(line):
            continue
        if entry := read_line(part, line):
            yield replace(entry, below=tuple(reversed(below)))
            at = entry.at
            below.clear()
        elif line:
            below.append(line)
    if below:
        at = at or datetime.fromtimestamp(path.stat().st_mtime, UTC)
        for line in below:
            yield LoggedEvent(at=at, level=Level.INFO, service=part, event=line, fields={}, text=line)


def _lines_upwards(path: Path) -> Iterator[str]:
    """The lines of a file from the last one on; only what was complete at the beginning."""
    with path.open("rb") as stream:
        position = stream.seek(0, 2)
        rest = b""
        while position:
            begin = max(0, position - BLOCK_BYTES)
            stream.seek(begin)
            first, *others = (stream.read(position - begin) + rest).split(b"\n")
            for line in reversed(others):
                yield line.decode("utf-8", "replace")
            position, rest = begin, first
        yield rest.decode("utf-8", "replace")


def _time(entry: LoggedEvent) -> datetime:
    return entry.at
