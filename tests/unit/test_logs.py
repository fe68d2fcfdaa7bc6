"""Log lines: JSON for machines, and each knows what it is about."""

import asyncio
import errno
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import structlog

from notifier.domain import notification_of
from notifier.senders.log import LogSender
from shared.context import logging_about, trace_of
from shared.errors import SenderUnavailable
from shared.logs import SILENT_LIBRARIES, configure_logs, flush_logs, get_logger
from shared.tracing import Span, in_span
from tests.harness.examples import created
from tests.harness.spans import keeping_spans


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leaves the logging of the test run as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in (*SILENT_LIBRARIES, "asyncio"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


class FullDisk(StringIO):
    """Takes nothing any more."""

    def write(self, _: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class CountingStream(StringIO):
    """Counts the calls that would each go to the system."""

    flushes = 0

    def flush(self) -> None:
        self.flushes += 1


def lines(stream: StringIO) -> list[dict[str, Any]]:
    """Every line that was written, read back."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_its_service_level_and_time() -> None:
    """A log collector needs no rules of its own."""
    stream = StringIO()
    configure_logs("notifier", "INFO", "json", stream)
    get_logger("test").info("notified", order_id="order1")
    (line,) = lines(stream)
    assert line["event"] == "notified"
    assert (line["service"], line["level"], line["order_id"]) == ("notifier", "info", "order1")
    assert line["timestamp"].endswith("Z")


def test_lines_about_one_order_carry_its_ids() -> None:
    """Whoever searches for an order or a correlation id finds every line, and none of the next order's."""
    stream = StringIO()
    configure_logs("notifier", "INFO", "json", stream)
    log = get_logger("test")
    with logging_about(order_id="order1", correlation_id="c1"):
        log.info("inside")
    log.info("outside")
    inside, outside = lines(stream)
    assert (inside["order_id"], inside["correlation_id"]) == ("order1", "c1")
    assert "order_id" not in outside


def test_a_librarys_lines_look_like_ours() -> None:
    """Nothing else is ever written to stdout."""
    stream = StringIO()
    configure_logs("notifier", "INFO", "json", stream)
    logging.getLogger("some.library").warning("slow %s", "answer")
    (line,) = lines(stream)
    assert (line["event"], line["service"], line["level"]) == ("slow answer", "notifier", "warning")


def test_a_level_hides_what_is_below_it_and_noisy_libraries_stay_quiet() -> None:
    """A broker that is away is told by us once, not by its library line after line."""
    stream = StringIO()
    configure_logs("notifier", "WARNING", "json", stream)
    get_logger("test").info("hidden")
    logging.getLogger("aiormq.connection").error("hidden too")
    get_logger("test").warning("shown")
    assert [line["event"] for line in lines(stream)] == ["shown"]


def test_a_traceback_is_part_of_its_line() -> None:
    """An error is one object, not fifty lines."""
    stream = StringIO()
    configure_logs("notifier", "INFO", "json", stream)
    get_logger("test").error("failed", exc_info=ValueError("broken"))
    (line,) = lines(stream)
    assert "ValueError: broken" in line["exception"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("Grüße", "Grüße"),
        ("\ud800", "\ud800"),
        (2**70, 2**70),
        ({"a": [1, None]}, {"a": [1, None]}),
        (b"x", "b'x'"),
        (ValueError("broken"), "ValueError('broken')"),
    ],
)
def test_whatever_a_line_says_is_written_in_ascii(value: object, written: object) -> None:
    """Also what JSON has no word for; terminals and collectors read it alike."""
    stream = StringIO()
    configure_logs("notifier", "INFO", "json", stream)
    get_logger("test").info("odd", value=value)
    assert stream.getvalue().isascii()
    (line,) = lines(stream)
    assert (line["value"], line["level"]) == (written, "info")
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_line_that_cannot_be_written_ends_nobodys_work(
    form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A full disk under the log is no reason to refuse an order that is stored already."""
    configure_logs("api_gateway", "INFO", form, FullDisk())
    get_logger("test").info("order accepted")
    assert "No space left on device" in capsys.readouterr().err


async def test_lines_of_one_turn_of_the_loop_are_written_together_and_in_order() -> None:
    """A hundred orders that arrive together cost one call to the system."""
    stream = CountingStream()
    configure_logs("api_gateway", "INFO", "json", stream)
    for number in range(100):
        get_logger("test").info("order accepted", number=number)
        logging.getLogger("some.library").info("line %d", number)
    assert not stream.getvalue()
    await asyncio.sleep(0)
    assert [line["event"] for line in lines(stream)][:3] == ["order accepted", "line 0", "order accepted"]
    assert len(lines(stream)) == 200
    assert stream.flushes == 1
    get_logger("test").info("the next turn")
    await asyncio.sleep(0)
    assert lines(stream)[-1]["event"] == "the next turn"


@pytest.mark.parametrize("level", ["error", "critical"])
async def test_an_error_is_written_at_once_behind_what_was_said_before(level: str) -> None:
    """It may be the last that the process says."""
    stream = StringIO()
    configure_logs("notifier", "INFO", "json", stream)
    get_logger("test").info("before")
    getattr(get_logger("test"), level)("ours")
    getattr(logging.getLogger("some.library"), level)("a library's")
    assert [line["event"] for line in lines(stream)] == ["before", "ours", "a library's"]


@pytest.mark.parametrize("by_the_loop", [False, True])
async def test_a_notification_whose_line_could_not_be_written_is_not_out(
    by_the_loop: bool,
) -> None:
    """On a full disk the way to the customers is shut, until there is room."""
    sender, notification = LogSender(), notification_of(created())
    configure_logs("notifier", "INFO", "json", FullDisk())
    await sender.send(notification)
    if by_the_loop:
        await asyncio.sleep(0)
    with pytest.raises(SenderUnavailable, match="No space left"):
        await sender.flush()
    stream = StringIO()
    configure_logs("notifier", "INFO", "json", stream)
    await sender.send(notification)
    await sender.flush()
    assert [line["event"] for line in lines(stream)] == ["notification"]


async def test_lines_are_written_at_once_where_work_waits_for_them() -> None:
    """A notification that is a line in the log is not marked as sent before."""
    stream = StringIO()
    configure_logs("notifier", "INFO", "json", stream)
    get_logger("test").info("notification")
    flush_logs()
    assert [line["event"] for line in lines(stream)] == ["notification"]


async def test_a_thread_writes_at_once() -> None:
    """It has no turns, and the loop may be busy for long."""
    stream = StringIO()
    configure_logs("dashboard", "INFO", "json", stream)
    get_logger("test").info("before")
    await asyncio.to_thread(get_logger("test").info, "in a thread")
    assert [line["event"] for line in lines(stream)] == ["before", "in a thread"]


@pytest.mark.parametrize(
    "ends", ["raise SystemExit", "failpoints.arm('before_202'); failpoints.failpoint('before_202')"]
)
def test_a_process_that_ends_within_a_turn_writes_what_it_said(ends: str) -> None:
    """Only what kills it from outside takes the lines of that turn along."""
    program = f"""
import asyncio
from shared import failpoints
from shared.logs import configure_logs, get_logger
async def turn():
    get_logger('test').info('last words')
    {ends}
configure_logs('api_gateway', 'INFO', 'json')
asyncio.run(turn())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert json.loads(ended.stdout)["event"] == "last words", ended.stderr


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_line_names_the_trace_that_its_work_is_recorded_in(form: str) -> None:
    """In either form; a line that names another one means that."""
    stream = StringIO()
    configure_logs("notifier", "INFO", form, stream)
    with keeping_spans() as kept, in_span(Span("request", "server", "a" * 32, None, kept)):
        get_logger("test").info("its own")
        get_logger("test").info("another's", trace_id="b" * 32)
    get_logger("test").info("none")
    own, other, none = stream.getvalue().splitlines()
    assert "a" * 32 in own
    assert "a" * 32 not in other
    assert "b" * 32 in other
    assert "trace_id" not in none


def test_the_form_follows_the_stream_unless_it_is_told() -> None:
    """JSON where no terminal is; a person may ask for the other form."""
    stream = StringIO()
    configure_logs("notifier", "INFO", None, stream)
    get_logger("test").info("for machines")
    assert lines(stream)[0]["event"] == "for machines"
    people = StringIO()
    configure_logs("notifier", "INFO", "console", people)
    get_logger("another").info("for people")
    assert "for people" in people.getvalue()
    assert not people.getvalue().startswith("{")


@pytest.mark.parametrize("insane", [None, "", "x" * 129, "a b", "a\nb", "ä"])
def test_an_insane_correlation_id_is_replaced(insane: str | None) -> None:
    """What comes from outside ends up in headers and logs."""
    trace = trace_of(insane, None)
    assert len(trace.correlation_id) == 32
    assert trace_of(insane, None) != trace


def test_sane_ids_of_the_caller_are_kept() -> None:
    """A trace that began elsewhere goes on here."""
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    trace = trace_of("request-7", parent)
    assert (trace.correlation_id, trace.traceparent) == ("request-7", parent)


@pytest.mark.parametrize(
    "insane", ["", "00-zz", f"00-{'0' * 32}-{'b' * 16}-01", f"00-{'a' * 32}-{'0' * 16}-01", "01" * 27 + "x"]
)
def test_an_insane_traceparent_begins_a_new_trace(insane: str) -> None:
    """Tracing tools refuse ids of zeros, and so do we."""
    assert trace_of("c", insane).traceparent != insane
