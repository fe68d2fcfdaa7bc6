"""A dead letter goes back with a corrected body: what it may say, what it may not, and what is kept of it."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from html import unescape
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from dashboard.dead_letters.actions import CorrectedRedrive, DryRun
from dashboard.dead_letters.desk import DeadLetterDesk
from dashboard.dead_letters.letter import Letter
from dashboard.dead_letters.pages import LARGEST_CORRECTION_BYTES
from shared import keyspace
from shared.messages import Event, content_fingerprint, encode
from shared.messaging.dead_letters import DeadLettersBusy
from shared.messaging.ports import OutgoingMessage
from shared.orders.model import OrderStatus
from shared.pipeline import CONSUMPTIONS, NOTIFIER, ORDER_PROCESSOR, ROUTES, Consumption
from shared.prices import LinePrice, Prices
from tests.harness.afterlife import Afterlife, Crashed, afterlife
from tests.harness.dead_dashboard import serving
from tests.harness.examples import an_order, created, placed, rejected
from tests.harness.routing import messages_in

ORDER = an_order("order1", cable=2)
WHOLE = orjson.loads(encode(placed(ORDER)))
TORN = {name: value for name, value in WHOLE.items() if name != "data"}
BROWSER = {"Accept": "text/html"}
STEPS_AT_MOST = 40


@pytest.fixture
async def world() -> AsyncIterator[Afterlife]:
    """An order whose message has lost its data on the way."""
    async with afterlife() as made:
        yield await torn(made)


async def torn(world: Afterlife) -> Afterlife:
    """The same, by hand."""
    await world.stock("cable", 10)
    await world.accept(ORDER)
    await world.redis.hset(keyspace.order(ORDER.id), "fingerprint", content_fingerprint(ORDER))
    await messages_in(world.broker, ORDER_PROCESSOR.queue)
    body = orjson.dumps(TORN)
    await world.broker.publish(OutgoingMessage(exchange="", routing_key=ORDER_PROCESSOR.queue, body=body))
    await world.work()
    return world


async def the_letter(world: Afterlife) -> Letter:
    """The only one."""
    (letter,) = (await world.letters()).letters
    return letter


def corrected(world: Afterlife, body: Mapping[str, Any]) -> CorrectedRedrive:
    """The action."""
    return CorrectedRedrive(world.redrive(), orjson.dumps(body))


async def test_a_message_that_could_not_be_read_is_corrected_and_decided(world: Afterlife) -> None:
    """Like any other; who did it, and what, is kept."""
    letter = await the_letter(world)
    assert (letter.event, letter.order_id) == (None, "order1")
    tally = await world.do(corrected(world, WHOLE))
    assert (tally.matched, tally.done, tally.failed) == (1, 1, 0)
    await world.work()
    assert (await world.order("order1")).status is OrderStatus.CREATED
    assert (await world.available("cable"), await world.decided()) == (8, 1)
    assert (await world.letters()).letters == []
    (entry,) = await world.trail().latest(10)
    assert (entry.action, entry.outcome, entry.detail) == ("redrive", "redriven", "with a corrected body")
    assert (entry.letter_id, entry.order_id, entry.by) == (letter.id, "order1", "127.0.0.1")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (TORN, "is no event"),
        ({"any": "thing"}, "is no event"),
        (orjson.loads(encode(placed(an_order("order2", cable=2)))), "about order order2"),
        (orjson.loads(encode(created(ORDER))), "order_processor does not take order.created.v1"),
        (WHOLE | {"type": "order.placed.v9"}, "order_processor does not take order.placed.v9"),
    ],
)
async def test_a_correction_that_would_die_again_or_vanish_is_refused(
    world: Afterlife, body: Mapping[str, Any], why: str
) -> None:
    """And the letter stays where it is."""
    tally = await world.do(corrected(world, body))
    assert (tally.matched, tally.done, tally.failed) == (1, 0, 1)
    assert (await the_letter(world)).delivery.body == orjson.dumps(TORN)
    (entry,) = await world.trail().latest(10)
    assert entry.outcome == "failed"
    assert why in entry.detail


PRICED = Prices(currency="EUR", lines=(LinePrice(unit_amount=1, name="Cable"),), amount_total=2)


OTHER: Mapping[str, Any] = {"order": replace(ORDER, email="eve@shop.example")}


@pytest.mark.parametrize(
    ("consumption", "change"),
    [
        (ORDER_PROCESSOR, OTHER),
        (ORDER_PROCESSOR, {"prices": PRICED}),
        (ORDER_PROCESSOR, {"customer": "eve"}),
        (NOTIFIER, OTHER),
        (NOTIFIER, {"prices": PRICED}),
    ],
)
async def test_what_was_ordered_cannot_be_corrected(
    world: Afterlife, consumption: Consumption, change: Mapping[str, Any]
) -> None:
    """For every consumer: the notifier would write to the address that the message names."""
    await messages_in(world.broker, ORDER_PROCESSOR.dead_queue)
    await world.broker.publish(
        OutgoingMessage(exchange="", routing_key=consumption.dead_queue, body=orjson.dumps(TORN))
    )
    event: Event[Any] = placed(ORDER) if consumption is ORDER_PROCESSOR else created(ORDER)
    action = CorrectedRedrive(world.redrive(), encode(replace(event, data=replace(event.data, **change))))
    for each in (action, DryRun("redrive", action.obstacle)):
        tally = await world.do(each)
        assert (tally.done, tally.failed) == (0, 1)
    await world.work()
    assert (await the_letter(world)).delivery.body == orjson.dumps(TORN)
    assert world.customers.sent == {}
    assert "changes what was ordered" in (await world.trail().latest(1))[0].detail


async def test_a_letter_that_can_be_read_keeps_its_event(world: Afterlife) -> None:
    """Else a customer would hear of the rejection of an order that was created."""
    await messages_in(world.broker, ORDER_PROCESSOR.dead_queue)
    world.customers.refuses = True
    await world.broker.publish(
        OutgoingMessage(exchange="", routing_key=NOTIFIER.queue, body=encode(created(ORDER)))
    )
    await world.work()
    tally = await world.do(CorrectedRedrive(world.redrive(), encode(rejected(order=ORDER))))
    assert (tally.done, tally.failed) == (0, 1)
    (entry,) = await world.trail().latest(1)
    assert entry.detail == "the corrected body is order.rejected.v1, the letter order.created.v1"


async def test_what_is_kept_of_a_correction_is_bounded(world: Afterlife) -> None:
    """A type may be as long as a request, and the trail has thousands of entries."""
    await world.do(corrected(world, WHOLE | {"type": "x" * 100_000}))
    (entry,) = await world.trail().latest(1)
    assert len(entry.detail) < 256


async def test_a_crash_anywhere_in_a_correction_is_made_good_by_asking_again() -> None:
    """Decided once, nothing left behind."""
    for at in range(STEPS_AT_MOST):
        async with afterlife() as world:
            await torn(world)
            world.plan.at, world.plan.steps = at, 0
            try:
                await world.do(corrected(world, WHOLE))
            except Crashed:
                world.plan.at = None
                await world.work()
                await world.do(corrected(world, WHOLE))
                await world.work()
            else:
                assert at > 4
                return
            assert (await world.order("order1")).status is OrderStatus.CREATED
            assert (await world.available("cable"), await world.decided()) == (8, 1)
            assert (await world.letters()).letters == []
    raise AssertionError("the plan never ran to its end")


# --- over HTTP --------------------------------------------------------------------------------------------


@pytest.fixture
async def session(world: Afterlife) -> AsyncIterator[ClientSession]:
    """A dashboard over it."""
    async with serving(world) as made:
        yield made


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("/dead/redrive", {"all": True, "body": WHOLE}),
        ("/dead/redrive", {"ids": ["order1", "order2"], "body": WHOLE}),
        ("/dead/redrive", {"ids": ["order1"], "body": "text"}),
        ("/dead/drop", {"ids": ["order1"], "body": WHOLE}),
        ("/dead/redrive", {"ids": ["order1"], "body": WHOLE | {"source": "\ud800"}}),
        ("/dead/redrive", {"ids": ["order1"], "body": WHOLE | {"\udfff": 1}}),
    ],
)
async def test_a_body_is_for_one_letter(
    world: Afterlife, session: ClientSession, path: str, asked: Mapping[str, Any]
) -> None:
    """That goes back."""
    async with session.post(path, json=asked) as answer:
        assert answer.status == 422, await answer.text()
        assert "body" in await answer.text()
    assert len((await world.letters()).letters) == 1


async def test_a_correction_is_tried_and_made_by_the_page(world: Afterlife, session: ClientSession) -> None:
    """What would not do is told before anything is done; what was done stands below the letters."""
    letter = await the_letter(world)
    for text, dry_run, told, status in (
        ("{", "", "The body is not JSON", 400),
        (orjson.dumps(TORN).decode(), "on", "is no event", 200),
        (orjson.dumps(WHOLE).decode(), "on", "1 letter would be sent back", 200),
        (orjson.dumps(WHOLE).decode(), "", "redriven, with a corrected body", 200),
    ):
        assert await world.trail().latest(1) == []
        form = {"id": letter.id, "body": text, "dry_run": dry_run}
        async with session.post("/dead-letters/redrive", data=form, headers=BROWSER) as answer:
            assert answer.status == status
            assert told in await answer.text()
    async with session.get("/dead-letters", headers=BROWSER) as answer:
        assert "What was done last" in await answer.text()
    async with session.get("/dead-audit?limit=5") as answer:
        (entry,) = (await answer.json())["audit"]
    assert (entry["outcome"], entry["order_id"], entry["by"]) == ("redriven", "order1", "127.0.0.1")


async def test_what_cannot_be_seen_in_a_body_comes_back_as_it_was(
    world: Afterlife, session: ClientSession
) -> None:
    """Signs that turn text round, and such, are shown as escapes, which mean the same."""
    hidden = TORN | {"note": "a\u202eb\x7f\U000e0041é\n"}
    await messages_in(world.broker, ORDER_PROCESSOR.dead_queue)
    await world.broker.publish(
        OutgoingMessage(exchange="", routing_key=ORDER_PROCESSOR.dead_queue, body=orjson.dumps(hidden))
    )
    async with session.get("/dead-letters", headers=BROWSER) as answer:
        html = await answer.text()
    text = html.partition("<textarea")[2].partition(">")[2].partition("</textarea>")[0]
    assert "a\\u202eb\\u007f\\udb40\\udc41é\\n" in text
    assert orjson.loads(text.replace("&#34;", '"')) == hidden


@pytest.mark.parametrize(
    ("content", "is_offered"),
    [
        ([{"sku": f"a{number}", "name": "é" * 40, "qty": 1} for number in range(100)], True),
        ([1] * 8_000, False),
        ("\u202e" * 5_000, True),
    ],
)
async def test_what_is_offered_for_correction_can_be_sent_back(
    world: Afterlife, session: ClientSession, content: Any, is_offered: bool
) -> None:
    """As a form has it: JSON in lines takes many times the room of JSON in one, and each sign three bytes."""
    await messages_in(world.broker, ORDER_PROCESSOR.dead_queue)
    body = orjson.dumps({"content": content})
    assert len(body) <= LARGEST_CORRECTION_BYTES
    await world.broker.publish(
        OutgoingMessage(exchange="", routing_key=ORDER_PROCESSOR.dead_queue, body=body)
    )
    letter = await the_letter(world)
    async with session.get("/dead-letters", headers=BROWSER) as answer:
        page = await answer.text()
    assert ("<textarea" in page) is is_offered
    text = unescape(page.partition("<textarea")[2].partition(">")[2].partition("</textarea>")[0])
    form = {"id": letter.id, "body": text.replace("\n", "\r\n"), "dry_run": "on"}
    async with session.post("/dead-letters/redrive", data=form, headers=BROWSER) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("action", "body"), [("drop", orjson.dumps(WHOLE).decode()), ("redrive", '{"half": "\\ud800"}')]
)
async def test_a_form_with_a_body_that_cannot_go_back_does_nothing(
    world: Afterlife, session: ClientSession, action: str, body: str
) -> None:
    """A body on its way to be dropped would have another order rejected than the letter's."""
    form = {"id": (await the_letter(world)).id, "body": body}
    async with session.post(f"/dead-letters/{action}", data=form, headers=BROWSER) as answer:
        assert answer.status == 422
    assert len((await world.letters()).letters) == 1
    assert (await world.order("order1")).status is OrderStatus.ACCEPTED


async def test_a_trail_that_cannot_be_read_hides_neither_letters_nor_what_was_done(
    world: Afterlife, session: ClientSession
) -> None:
    """A key of another type, or an entry from beyond the calendar, written by hand."""
    letter = await the_letter(world)
    await world.redis.set(keyspace.DEAD_LETTERS_AUDIT, "no stream")
    async with session.get("/dead-letters", headers=BROWSER) as answer:
        assert (answer.status, letter.id in await answer.text()) == (200, True)
    async with session.post("/dead-letters/drop", data={"id": letter.id}, headers=BROWSER) as answer:
        assert (answer.status, "1 letter dropped" in await answer.text()) == (200, True)
    await world.redis.delete(keyspace.DEAD_LETTERS_AUDIT)
    await world.redis.xadd(keyspace.DEAD_LETTERS_AUDIT, {"action": "drop"}, id=f"{2**64 - 2}-1")
    for path in ("/dead-audit", "/dead-letters"):
        async with session.get(path, headers=BROWSER) as answer:
            assert answer.status == 200


async def test_what_was_done_is_told_though_what_is_left_cannot_be_looked_at(
    world: Afterlife, session: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an operator reads that nothing was done."""

    async def busy(*_: object) -> None:
        raise DeadLettersBusy("somebody else is looking")

    letter = await the_letter(world)
    monkeypatch.setattr(DeadLetterDesk, "look", busy)
    async with session.post("/dead-letters/drop", data={"id": letter.id}, headers=BROWSER) as answer:
        text = await answer.text()
    assert answer.status == 200
    assert "1 letter dropped" in text
    assert "What is left is not known: somebody else is looking" in text
    assert "Every message has found its end" not in text


async def test_a_trail_that_cannot_be_written_keeps_no_letter_back(world: Afterlife) -> None:
    """The log has what was done."""
    await world.redis.set(keyspace.DEAD_LETTERS_AUDIT, "no stream")
    assert (await world.do(corrected(world, WHOLE))).done == 1


def test_each_consumer_takes_the_events_that_are_routed_to_it() -> None:
    """No more and no less."""
    taken = {each.service: {name for name in ROUTES if each.takes(name)} for each in CONSUMPTIONS}
    assert (
        taken.items()
        >= {
            ORDER_PROCESSOR.service: {"order.placed.v1"},
            NOTIFIER.service: ROUTES.keys() - {"order.placed.v1"},
        }.items()
    )
