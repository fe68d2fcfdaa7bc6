"""Logs of all parts are read as one: by time, by order, by level, for people and for programs."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orderctl.cli import app
from orderctl.docker.system import _PREFIXED
from orderctl.follow import FollowedFile, follow, follow_lines, latest
from orderctl.log_lines import Level, LogFilter, LoggedEvent, UnclearTimeError, moment, read_line

EVERYTHING = LogFilter()
NOW = datetime(2026, 11, 28, 18, 0, tzinfo=UTC)


def ours(event: str, second: int, **fields: str) -> str:
    """A line of a service."""
    told = {"event": event, "service": "notifier", "level": "info", **fields}
    return json.dumps({**told, "timestamp": f"2026-11-28T17:23:{second:02}.000000Z"})


def broker(event: str, second: int, level: str = "info") -> str:
    """A line of a broker."""
    return f"2026-11-28 17:23:{second:02}.500000+00:00 [{level}] <0.223.0> {event}"


def logs_in(folder: Path, **lines: Sequence[str]) -> dict[str, Path]:
    """The log of each part, with these lines."""
    (folder / "logs").mkdir(exist_ok=True)
    files = {part: folder / "logs" / f"{part}.log" for part in lines}
    for part, path in files.items():
        path.write_text("".join(f"{line}\n" for line in lines[part]))
    return files


@pytest.mark.parametrize(
    ("line", "at", "level", "event"),
    [
        (broker("opened", 3), "17:23:03.500", Level.INFO, "opened"),
        (f"  Starting broker...{broker('active', 3, 'notice')}", "17:23:03.500", Level.INFO, "active"),
        (broker("partition", 3, "error"), "17:23:03.500", Level.ERROR, "partition"),
        ("1:M 28 Nov 2026 17:23:19.406 # Can't save", "17:23:19.406", Level.WARNING, "Can't save"),
        ("80:signal-handler (1795886599) Received SIGTERM", "17:23:19.000", Level.INFO, "Received SIGTERM"),
        (
            "2026-11-28 17:23:19.394 UTC [8130] FATAL:  no more room",
            "17:23:19.394",
            Level.ERROR,
            "no more room",
        ),
        ("2026-11-28T17:23:12.839+00:00 accounts started", "17:23:12.839", Level.INFO, "accounts started"),
        (ours("told", 18, level="warning"), "17:23:18.000", Level.WARNING, "told"),
        (ours("odd", 18, level="strange"), "17:23:18.000", Level.INFO, "odd"),
    ],
)
def test_a_line_of_any_part_says_when_and_how_grave(line: str, at: str, level: Level, event: str) -> None:
    """The services', RabbitMQ's, Redis', PostgreSQL's and the supervisor's."""
    entry = read_line("part", line)
    assert entry is not None
    assert entry.at.isoformat(timespec="milliseconds") == f"2026-11-28T{at}+00:00"
    assert (entry.level, entry.event) == (level, event)


@pytest.mark.parametrize(
    "line",
    [
        "  ##  ##      RabbitMQ 3.10.8",
        "2026-11-28 17:23:19.394 UTC [8130] STATEMENT:  SELECT 1",
        "{'no': 'json'}",
        '{"event": "no time"}',
        '{"timestamp": 12}',
        "1:M 28 Foo 2026 17:23:19.406 * none",
    ],
)
def test_a_line_without_a_time_belongs_to_the_entry_above(line: str, tmp_path: Path) -> None:
    """Banners and statements are read with it, from the end of the log as well as while it grows."""
    files = logs_in(tmp_path, rabbitmq1=[broker("first", 1), line, broker("second", 2)])
    followed = FollowedFile("rabbitmq1", files["rabbitmq1"], at_end=False)
    for entries in (latest(files, EVERYTHING, None), followed.added()):
        assert [(entry.event, entry.below) for entry in entries] == [("first", (line,)), ("second", ())]
    followed.close()


def test_what_stands_above_the_first_entry_is_shown_too(tmp_path: Path) -> None:
    """So is a log of a program that tells no times."""
    files = logs_in(tmp_path, rabbitmq1=["Booting", broker("first", 1)], packages=["Unpacking", "Done"])
    shown = [entry.event for entry in latest(files, EVERYTHING, None)]
    assert shown == ["Booting", "first", "Unpacking", "Done"]


def test_logs_are_merged_by_time_and_the_latest_of_each_part_are_shown(tmp_path: Path) -> None:
    """A part that says much does not hide the others; what stands at one time keeps its order."""
    files = logs_in(
        tmp_path,
        notifier=[ours("a", 1), ours("b", 3), ours("c", 3)],
        rabbitmq1=[broker(f"r{second}", second) for second in range(50)],
    )
    assert [entry.event for entry in latest(files, EVERYTHING, 2)] == ["b", "c", "r48", "r49"]


def test_a_long_log_is_read_from_its_end_and_on_into_the_older_one(tmp_path: Path) -> None:
    """Whichever blocks it is read in, no line is torn."""
    files = logs_in(tmp_path, notifier=[ours(f"{number} {'ä' * 9_000}", 2) for number in range(30)])
    files["notifier"].with_suffix(".log.1").write_text(ours("older", 1) + "\n")
    events = [entry.event.split()[0] for entry in latest(files, EVERYTHING, None)]
    assert events == ["older", *map(str, range(30))]


def test_an_orders_entries_are_those_that_name_it(tmp_path: Path) -> None:
    """By the services and the brokers alike; an id that begins or ends another one is not meant."""
    files = logs_in(
        tmp_path,
        notifier=[
            ours("mine", 1, order_id="order1"),
            ours("letter", 2, notification_id="order1:order.created.v1"),
            ours("another", 3, order_id="order12"),
            ours("yet another", 4, order_id="my-order1"),
            ours("with a dot", 5, order_id="order1.5"),
        ],
        rabbitmq1=[broker("message of order1.", 6), broker("none", 7)],
    )
    found = latest(files, LogFilter(order_id="order1"), None)
    assert [entry.event for entry in found] == ["mine", "letter", "message of order1."]


def test_entries_can_be_bounded_by_level_and_time(tmp_path: Path) -> None:
    """What is at least so grave, and newer."""
    files = logs_in(
        tmp_path, rabbitmq1=[broker("early", 1, "error"), broker("grave", 30, "warning"), broker("mild", 40)]
    )
    since = NOW.replace(hour=17, minute=23, second=20)
    found = latest(files, LogFilter(level=Level.WARNING, since=since), None)
    assert [entry.event for entry in found] == ["grave"]


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
        ("2026-11-28T17:00:00Z", timedelta(hours=1)),
        ("2026-11-28T18:00:00+01:00", timedelta(hours=1)),
        ("2026-11-28T17:00:00", timedelta(hours=1)),
    ],
)
def test_since_is_an_age_or_a_time(text: str, ago: timedelta) -> None:
    """In UTC, unless it says otherwise."""
    assert NOW - moment(text, NOW) == ago


@pytest.mark.parametrize("text", ["", "5", "5x", "-5m", "yesterday"])
def test_a_time_that_cannot_be_read_is_refused(text: str) -> None:
    """Nothing is shown then."""
    with pytest.raises(UnclearTimeError, match="write it as 5m"):
        moment(text, NOW)


def test_a_log_is_followed_also_when_it_is_replaced_or_begins_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each entry is shown once, those of one look in the order of their times."""
    files = logs_in(tmp_path, notifier=[ours("before", 1)])
    log, shown = files["notifier"], list[str]()

    def added() -> None:
        with log.open("a") as stream:
            stream.write(ours("later", 9) + "\n" + ours("torn", 10)[:20])
        files.update(logs_in(tmp_path, rabbitmq1=[broker("new part", 2)]))

    def mended() -> None:
        with log.open("a") as stream:
            stream.write(ours("torn", 10)[20:] + "\n")

    def replaced() -> None:
        log.replace(log.with_suffix(".log.1"))
        log.write_text(ours("anew", 11) + "\n")

    def interrupted() -> None:
        raise KeyboardInterrupt

    steps = iter([added, mended, lambda: None, replaced, lambda: None, lambda: None, interrupted])
    monkeypatch.setattr("orderctl.follow.time.sleep", lambda _: next(steps)())
    follow(lambda: files, EVERYTHING, None, lambda entry: shown.append(entry.event))
    assert sorted(shown) == ["anew", "before", "later", "new part", "torn"]
    assert shown[0] == "before"


def test_what_containers_write_is_told_apart_by_its_prefix() -> None:
    """Compose puts the name of the service and the number of the copy before each line."""
    printed = [
        f"notifier-1         | {ours('a', 1)}",
        "order_processor-12 | Traceback (most recent call last):",
        f"rabbitmq1-1        | {broker('b', 2, 'error')}",
    ]
    lines = [(found["part"], found["line"]) for line in printed if (found := _PREFIXED.match(line))]
    shown: list[LoggedEvent] = []
    follow_lines(lines, EVERYTHING, shown.append)
    assert [entry.service for entry in shown] == ["notifier", "order_processor", "rabbitmq1"]
    assert shown[2].level is Level.ERROR


def test_people_read_lines_and_programs_read_json(tmp_path: Path) -> None:
    """People are given the time under the day, and what is long is cut; programs get all, of brokers too."""
    error = ours("failed", 2, order_id="o1", level="error", exception="Traceback\n  boom", text="x" * 99)
    logs_in(tmp_path, notifier=[error, ours("escape \x1b[31m", 3)], rabbitmq1=[broker("up", 1), "  banner"])
    result = CliRunner().invoke(app, ["logs", "--text", "--data-dir", str(tmp_path)])
    assert result.output.splitlines() == [
        "2026-11-28, times in UTC",
        "17:23:01.500 info     rabbitmq1       up",
        "      banner",
        f"17:23:02.000 error    notifier        o1  failed  text={'x' * 59}…",
        "    Traceback",
        "      boom",
        "17:23:03.000 info     notifier        escape \\x1b[31m",
    ]
    piped = CliRunner().invoke(app, ["logs", "--data-dir", str(tmp_path)]).output.splitlines()
    first, second, _ = map(json.loads, piped)
    assert first == {
        "timestamp": "2026-11-28T17:23:01.500000Z",
        "level": "info",
        "service": "rabbitmq1",
        "event": "up",
        "below": ["  banner"],
    }
    assert (second["order_id"], second["text"]) == ("o1", "x" * 99)


def test_a_part_without_a_log_is_refused_by_name(tmp_path: Path) -> None:
    """With the names of those that have one."""
    logs_in(tmp_path, notifier=[ours("a", 1)])
    result = CliRunner().invoke(app, ["logs", "redis", "--data-dir", str(tmp_path)])
    assert (result.exit_code, "redis has no log; there are: notifier" in result.output) == (2, True)
