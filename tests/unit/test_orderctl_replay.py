"""`orderctl replay`: what cannot be asked for, how fast it goes, and how its events are told from others."""

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from orderctl.cli import app
from orderctl.errors import OrderctlError
from orderctl.hints import as_called
from orderctl.replay.history import UnclearPlaceError, read_place, written_place
from orderctl.replay.sending import ReplayReport, SendingPace, steps_for
from shared.contracts import asyncapi
from shared.messages import decode, encode
from shared.pipeline import CONSUMPTIONS, NOTIFIER, ORDER_PROCESSOR
from tests.harness.description import validator
from tests.harness.examples import created

NOBODY = "redis://127.0.0.1:9/0"
KNOWN = ", ".join(each.service for each in CONSUMPTIONS)


@pytest.mark.parametrize(
    ("words", "status", "why"),
    [
        ("--since 1h", 2, "--to"),
        ("--to nobody --since 1h", 2, f"--to nobody: no consumer is called so; there are {KNOWN}"),
        ("--to webhooks --since 1h", 2, "a webhook by POST /webhooks/{id}/resend"),
        ("--to notifier", 2, "say from when on"),
        ("--to notifier --since noon", 2, "--since noon: write it as"),
        ("--to notifier --since 1h --until noon", 2, "--until noon: write it as"),
        ("--to notifier --since 1h --until 2h", 2, "is before"),
        ("--to notifier --from-id somewhere", 2, "no place that replay has named"),
        ("--to notifier --order a/b", 2, "must be an order's id"),
        ("--to notifier --order a --from-id 1-0", 2, "must be an order's id"),
        ("--to notifier --since 1h --rate 0", 2, "rate"),
        (f"--to notifier --since 1h --redis {NOBODY}", 2, "--rabbitmq"),
        ("--to notifier --since 1h --redis http://x --dry-run", 2, "--redis: a URL must begin"),
        (f"--to notifier --since 1h --redis {NOBODY} --rabbitmq ,", 2, "--rabbitmq: a URL must begin"),
        (f"--to notifier --since 1h --redis {NOBODY} --dry-run --database x", 2, "--database: a URL must"),
        ("--to notifier --since 1h --rabbitmq amqp://127.0.0.1:9/", 2, "name the store as well"),
        ("--to notifier --since 1h --database sqlite:////x.db", 2, "name the store as well"),
        (f"--to notifier --since 1h --dry-run --redis {NOBODY}", 1, "what happened cannot be read"),
        ("--to notifier --since 1h", 2, "redis does not answer"),
    ],
)
def test_what_cannot_be_done_is_one_line(tmp_path: Path, words: str, status: int, why: str) -> None:
    """With what is wrong, and status 2 where nothing was tried."""
    result = CliRunner().invoke(app, ["replay", *words.split(), "--data-dir", str(tmp_path)])
    assert (result.exit_code, why in result.output) == (status, True), result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("ends", "status", "said"),
    [
        (KeyboardInterrupt, 130, "interrupted; go on with: "),
        (OrderctlError("the brokers confirm nothing"), 1, "the brokers confirm nothing; go on with: "),
    ],
)
def test_one_that_is_broken_off_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ends: BaseException, status: int, said: str
) -> None:
    """By Ctrl-C or by an outage: with what was sent, and after which place."""

    async def broken_off(_: object, __: object, report: ReplayReport, ___: object) -> None:
        report.sent["order.created.v1"] = 7
        report.place = read_place("1900000000000-3")
        raise ends

    monkeypatch.setattr("orderctl.replay.session.replay", broken_off)
    urls = ("--redis", NOBODY, "--rabbitmq", "amqp://127.0.0.1:9/", "--data-dir", str(tmp_path))
    bounds = ("--since", "1h", "--until", "2100-01-01T00:00:00Z", "--rate", "7.5")
    result = CliRunner().invoke(app, ["replay", "--to", "notifier", *bounds, *urls])
    assert result.exit_code == status
    assert said in result.output
    words = f"--from-id 1900000000000-3 {' '.join(bounds[2:])} --data-dir {tmp_path}; add the same --redis,"
    assert f"replay --to notifier {words}" in result.output.replace("\n", "")


@pytest.mark.parametrize(
    "place", ["1900000000000-3", "1900000000000000:order.1:12", "1900000000000000:a~17:1", "0::0"]
)
def test_places_are_read_as_they_are_written(place: str) -> None:
    """And can be pasted from the advice, whole."""
    assert written_place(read_place(place)) == place
    advice = as_called(f"orderctl replay --to notifier --from-id {place}")
    assert f" --from-id {place} " in f"{advice} "
    for other in ("", "1", f"{place}-", f"x{place}", "1:a/b:1"):
        with pytest.raises(UnclearPlaceError):
            read_place(other)


async def test_so_many_go_in_a_second_and_a_pause_is_not_made_up_for() -> None:
    """Also after a time in which none did."""
    now = 100.0
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(round(seconds, 6))
        now += seconds

    pace = SendingPace(4, clock=lambda: now, sleep=sleep)
    for _ in range(3):
        await pace.turn()
    now += 60.0
    for _ in range(3):
        await pace.turn()
    assert slept == [0.25, 0.25, 0.25, 0.25]


def test_a_replay_is_told_from_its_event_by_its_mark_alone() -> None:
    """The id is the same, the contract allows it, and what is no replay has the bytes that it always had."""
    event = created()
    marked = replace(event, is_replay=True)
    assert decode(encode(marked)) == marked
    assert orjson.loads(encode(marked)) == orjson.loads(encode(event)) | {"replay": True}
    document = asyncapi()
    fits = validator(document, document["components"]["schemas"][event.type]).is_valid
    assert fits(orjson.loads(encode(marked)))
    assert not fits(orjson.loads(encode(event)) | {"replay": "yes"})


def test_each_consumer_is_told_what_it_takes() -> None:
    """By the map."""
    assert steps_for(ORDER_PROCESSOR) == {"accepted"}
    told = {"created", "rejected", "processing", "shipped", "delivered", "cancelled"}
    assert steps_for(NOTIFIER) == told
