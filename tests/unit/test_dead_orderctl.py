"""`orderctl dead` against a dashboard on a real socket: what it shows, asks, does, and how it ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner, Result

from orderctl.cli import app
from shared import keyspace
from tests.harness.afterlife import Afterlife, afterlife
from tests.harness.dead_dashboard import serving
from tests.harness.examples import an_order

TOKEN = "a token of the tests"
Run = Callable[..., Coroutine[Any, Any, Result]]


@pytest.fixture
async def world() -> AsyncIterator[Afterlife]:
    """Two dead orders."""
    async with afterlife() as made:
        await made.stock("cable", "1e3")
        for number in (1, 2):
            await made.accept(an_order(f"order{number}", cable=number))
        await made.work()
        await made.stock("cable", 10)
        yield made


def running(url: str) -> Run:
    """Runs a command in a thread of its own, as it makes its own event loop."""

    async def run(*arguments: str, **options: Any) -> Result:
        command = ["dead", *arguments, "--url", url]
        return await asyncio.to_thread(CliRunner().invoke, app, command, **options)

    return run


@pytest.fixture
async def dead(world: Afterlife) -> AsyncIterator[Run]:
    """`orderctl dead …` against a dashboard without a token."""
    with structlog.testing.capture_logs():  # else the dashboard's lines stand among the command's
        async with serving(world) as session:
            yield running(str(session._base_url))


async def test_the_list_shows_what_an_operator_decides_by(dead: Run) -> None:
    """Id, reason, attempts, age and error, and how many lie where."""
    result = await dead("list")
    assert result.exit_code == 0, result.output
    assert "orders.dead:order1:order.placed.v1" in result.output
    assert "broken_stock" in result.output
    assert "s ago" in result.output
    assert "2 in orders.dead, 0 in notifier.dead" in result.output


async def test_the_list_for_scripts_is_the_answer_itself(dead: Run) -> None:
    """With the filters handed on."""
    result = await dead("list", "--json", "--reason", "broken_stock", "--younger-than", "1h", "--limit", "1")
    shown = json.loads(result.output)
    assert ([letter["order_id"] for letter in shown["letters"]], shown["more"]) == (["order1"], True)
    assert "no dead letters" in (await dead("list", "--sku", "lamp")).output


async def test_one_letter_is_shown_in_full(dead: Run) -> None:
    """The body too."""
    result = await dead("show", "order2")
    assert result.exit_code == 0, result.output
    assert "the stock entry of cable is not an integer" in result.output
    assert '"qty": 2' in result.output
    assert (await dead("show", "order9")).exit_code == 1


async def test_a_redrive_says_what_it_did_and_asked_again_does_nothing(dead: Run, world: Afterlife) -> None:
    """Neither is an error."""
    result = await dead("redrive", "order1")
    assert (result.exit_code, "redriven 1 of 1 letter" in result.output) == (0, True), result.output
    await world.work()
    assert (await world.order("order1")).status == "created"
    again = await dead("redrive", "order1")
    assert (again.exit_code, "redriven 0 of 0 letters" in again.output) == (0, True), again.output
    assert "no such dead letter" in again.output


async def test_so_many_letters_are_sent_back_as_was_said(dead: Run, world: Afterlife) -> None:
    """First a few, to see how they fare."""
    result = await dead("redrive", "--all", "--limit", "1")
    assert (result.exit_code, "redriven 1 of 1 letter" in result.output) == (0, True), result.output
    assert len((await world.letters()).letters) == 1


async def test_a_dry_run_names_the_letters_and_leaves_them(dead: Run) -> None:
    """Dropping nothing needs no confirmation."""
    result = await dead("drop", "--all", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "2 letters; nothing was done" in result.output
    assert "order2" in result.output
    assert "2 in orders.dead" in (await dead("list")).output


async def test_one_letter_is_corrected_and_the_trail_says_so(
    dead: Run, world: Afterlife, tmp_path: Path
) -> None:
    """From a file, or from what another command prints."""
    (first, _) = (await world.letters()).letters
    body, broken = tmp_path / "body.json", tmp_path / "broken.json"
    body.write_bytes(first.delivery.body)
    broken.write_text("{")
    assert "nothing was done" in (await dead("audit")).output
    result = await dead("redrive", "order1", "--body", str(broken))
    assert (result.exit_code, "no JSON" in result.output) == (1, True)
    result = await dead("redrive", "--all", "--body", str(body))
    assert (result.exit_code, 'say which by one id in "ids"' in result.output) == (1, True)
    result = await dead("redrive", "order2", "--body", "-", input=first.delivery.body)
    assert (result.exit_code, "about order order1" in result.output) == (1, True)
    result = await dead("redrive", "order1", "--body", str(body))
    assert (result.exit_code, "with a corrected body" in result.output) == (0, True)
    trail = json.loads((await dead("audit", "--json")).output)["audit"]
    assert [(each["order_id"], each["outcome"]) for each in trail] == [
        ("order1", "redriven"),
        ("order2", "failed"),
    ]
    assert "orders.dead:order1" in (await dead("audit")).output


@pytest.mark.parametrize(
    "text",
    ['{"type": 1, "type": 2}', '{"a": 123456789012345678901}', r'{"a": "\ud800"}', "NaN", "", "\ufeff{}"],
)
async def test_a_correction_that_two_readers_would_read_differently_is_not_sent(
    dead: Run, world: Afterlife, text: str
) -> None:
    """Of a key that stands twice the last would be sent, of a long number another one."""
    result = await dead("redrive", "order1", "--body", "-", "--dry-run", input=text.encode())
    assert (result.exit_code, "no JSON" in result.output) == (1, True), result.output
    assert "order1" in (await dead("list")).output


async def test_all_are_dropped_only_after_a_yes(dead: Run, world: Afterlife) -> None:
    """A script has to say so beforehand."""
    refused = await dead("drop", "--all")
    assert (refused.exit_code, "--yes" in refused.output) == (1, True), refused.output
    assert "2 in orders.dead" in (await dead("list")).output
    done = await dead("drop", "--all", "--yes", "--json")
    assert (done.exit_code, json.loads(done.output)["done"]) == (0, 2), done.output
    await world.work()
    assert (await world.order("order2")).reason == "dropped"


@pytest.mark.parametrize(
    "arguments", [["redrive"], ["drop"], ["drop", "order1", "--all"], ["redrive", "--sku", "x"]]
)
async def test_letters_must_be_named_or_all_be_meant(dead: Run, arguments: list[str]) -> None:
    """Nothing is done on a guess."""
    result = await dead(*arguments)
    assert (result.exit_code, "--all" in result.output) == (2, True), result.output


async def test_a_letter_that_could_not_be_dropped_ends_with_status_1(dead: Run, world: Afterlife) -> None:
    """It is named, with why."""
    await world.redis.delete(keyspace.order("order1"))
    await world.redis.set(keyspace.order("order1"), "somebody else's")
    result = await dead("drop", "order1", "order2")
    assert result.exit_code == 1, result.output
    assert "failed" in result.output
    assert "dropped 1 of 2 letters" in result.output


async def test_the_token_comes_from_the_environment(
    world: Afterlife, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the dashboard's own variable, and never stands on a command line."""
    async with serving(world, token=TOKEN) as session:
        run = running(str(session._base_url))
        refused = await run("list")
        assert (refused.exit_code, "DASHBOARD_TOKEN" in refused.output) == (1, True), refused.output
        monkeypatch.setenv("DASHBOARD_TOKEN", TOKEN)
        assert (await run("list")).exit_code == 0


async def test_a_filter_that_is_not_understood_is_said_by_name(dead: Run) -> None:
    """In the dashboard's words."""
    result = await dead("list", "--older-than", "soon")
    assert (result.exit_code, "older_than" in result.output) == (1, True), result.output


async def test_a_dashboard_that_is_not_there_is_one_line() -> None:
    """No traceback."""
    result = await running("http://127.0.0.1:1")("list")
    assert (result.exit_code, "does not answer" in result.output) == (1, True), result.output
    assert "Traceback" not in result.output
