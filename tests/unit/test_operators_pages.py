"""The pages about single orders and dead letters, as the server sends them, and what their forms do."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from dashboard.orders.routes import BUTTONS
from shared import keyspace
from shared.http.guard import COOKIE
from shared.messaging.ports import OutgoingMessage
from shared.orders.model import OrderStatus
from shared.orders.moves import EVENT_TYPES
from shared.pipeline import ORDER_PROCESSOR
from tests.harness.afterlife import Afterlife, afterlife
from tests.harness.dead_dashboard import BROWSER, SHOP_URL, page, serving
from tests.harness.examples import an_order
from tests.harness.tokens import ALICE, OPERATOR, bearer, token

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
async def world() -> AsyncIterator[Afterlife]:
    """An order that was decided, and two that died of the stock of their SKU."""
    async with afterlife() as made:
        await made.stock("cable", "1e3")
        await made.stock("lamp", 10)
        await made.accept(an_order("good", email="ana@shop.example", lamp=2))
        for order_id in ("bad", "worse"):
            await made.accept(an_order(order_id, email=None, cable=1))
        await made.work()
        await made.stock("cable", 10)
        yield made


@pytest.fixture
async def session(world: Afterlife) -> AsyncIterator[ClientSession]:
    """A session with a dashboard on loopback, without a token."""
    async with serving(world) as made:
        yield made


async def sent(session: ClientSession, path: str, **fields: object) -> tuple[int, str]:
    """What a form came to: the status and the page."""
    async with session.post(path, data=fields, headers=BROWSER, allow_redirects=False) as answer:
        return answer.status, await answer.text()


async def timeline(world: Afterlife, order_id: str) -> list[str]:
    """Its steps, a line each."""
    return str(await world.redis.hget(keyspace.order(order_id), "timeline")).splitlines()


async def test_the_page_of_orders_leads_to_each(session: ClientSession) -> None:
    """The latest steps, and those in trouble; an id that is typed leads to its page."""
    html = await page(session, "/orders")
    assert "2 orders in trouble" in html
    assert all(f'href="/orders/{order_id}"' in html for order_id in ("good", "bad", "worse"))
    async with session.get("/orders?id=%20good ", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/orders/good")


async def test_an_order_says_where_it_stands_and_why(session: ClientSession) -> None:
    """With everything that happened to it; of one that is dead the letter is told too."""
    html = await page(session, "/orders/good")
    for told in (
        "created",
        "lamp",
        "ana@shop.example",
        "accepted",
        "by order_processor",
        "Prepare it",
        "Cancel it",
    ):
        assert told in html, told
    assert "It is delivered" not in html
    html = await page(session, "/orders/bad")
    assert 'class="state bad">dead' in html
    assert "/dead-letters?order=bad" in html


async def test_dead_letters_are_looked_for_where_something_has_died(
    world: Afterlife, session: ClientSession
) -> None:
    """Pages renew themselves: an order that is well does not take the desk's turn each time."""
    await world.redis.set(keyspace.DEAD_LETTERS_LEASE, "another")
    assert "Not known" not in await page(session, "/orders/good")
    assert "Not known" in await page(session, "/orders/bad")


@pytest.mark.parametrize("order_id", ["nope", HOSTILE, "x" * 100])
async def test_an_order_that_is_not_there_is_told_so(session: ClientSession, order_id: str) -> None:
    """As a page, which says what else to try and repeats nothing that acts."""
    html = await page(session, f"/orders/{order_id.replace('/', '%2F')}", 404)
    assert "orderctl order show" in html
    assert HOSTILE not in html


async def test_an_order_is_moved_by_its_page(world: Afterlife, session: ClientSession) -> None:
    """Once: the same form sent again finds that the order has changed, and says so."""
    move = {"status": "cancelled", "was": "created", "reason": "ordered twice"}
    assert (await sent(session, "/orders/good/status", **move))[0] == 303
    record = await world.order("good")
    assert (record.status, record.timeline[-1].reason) == (OrderStatus.CANCELLED, "ordered twice")
    assert await world.available("lamp") == 10
    html = await page(session, "/orders/good")
    assert "ordered twice" in html
    assert "<form" not in html
    status, html = await sent(session, "/orders/good/status", status="shipped", was="created", reason="")
    assert status == 409
    assert "Something has happened to the order since" in html
    assert len((await world.order("good")).timeline) == record.version


async def test_a_letter_that_went_out_since_is_no_reason_to_ask_again(
    world: Afterlife, session: ClientSession
) -> None:
    """Only where the order stands counts, as its page showed it."""
    await page(session, "/orders/good")
    before = await world.steps("good")
    await world.redis.hset(
        keyspace.order("good"), "timeline", "\n".join([*await timeline(world, "good"), "1\tnotified\t\t"])
    )
    assert (await sent(session, "/orders/good/status", status="processing", was="created", reason=""))[
        0
    ] == 303
    assert await world.steps("good") == [*before, "notified", "processing"]


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "rejected", "was": "created"},
        {"status": "cancelled", "was": "lost"},
        {"status": "cancelled"},
        {"status": "cancelled", "was": "created", "reason": "a\x1b[2J"},
        {"status": "cancelled", "was": "created", "reason": "x" * 201},
    ],
)
async def test_a_form_that_makes_no_sense_moves_nothing(
    world: Afterlife, session: ClientSession, fields: dict[str, str]
) -> None:
    """The page names the field."""
    status, html = await sent(session, "/orders/good/status", **fields)
    assert status == 422
    assert "Wrong: " in html
    assert (await world.order("good")).status is OrderStatus.CREATED


async def test_dead_letters_are_told_by_what_they_died_of(world: Afterlife, session: ClientSession) -> None:
    """With body and story; those of one order alone too."""
    broken = b'{"broken": "' + HOSTILE.encode() + b'"'
    message = OutgoingMessage(exchange="", routing_key=ORDER_PROCESSOR.queue, body=broken)
    await world.broker.publish(message)
    await world.work()
    html = await page(session, "/dead-letters")
    assert "2 letters in" in html
    assert "1 letter in" in html
    assert HOSTILE not in html
    html = await page(session, "/dead-letters?order=bad")
    assert 'href="/orders/bad"' in html
    assert 'href="/orders/worse"' not in html
    assert "Wrong: queue" in await page(session, "/dead-letters?queue=orders.queue", 422)


async def test_letters_are_sent_back_and_dropped_by_the_page(
    world: Afterlife, session: ClientSession
) -> None:
    """One, or a kind of them; asked what would happen, nothing does."""
    kind = {"queue": "orders.dead", "reason": (await world.letters()).letters[0].reason}
    status, html = await sent(session, "/dead-letters/redrive", **kind, limit="1", dry_run="on")
    assert status == 200
    assert "1 letter would be sent back" in html
    assert len((await world.letters()).letters) == 2
    letter = (await world.letters()).letters[0]
    status, html = await sent(session, "/dead-letters/redrive", id=letter.id)
    assert "1 letter sent back" in html
    await world.work()
    assert (await world.order(letter.order_id or "")).status is OrderStatus.CREATED
    status, html = await sent(session, "/dead-letters/drop", **kind)
    assert "1 letter dropped" in html
    assert "Every message has found its end" in html
    status, html = await sent(session, "/dead-letters/drop", limit="many", **kind)
    assert (status, "limit" in html) == (422, True)


@pytest.mark.parametrize("path", ["/orders", "/orders/good", "/dead-letters", "/events"])
async def test_pages_about_orders_are_for_operators(world: Afterlife, path: str) -> None:
    """Off this machine a token is asked for, and a page says how to come by one."""
    async with serving(world, token="a token of the tests", bound_to="0.0.0.0") as session:  # noqa: S104
        async with session.get(path, headers=BROWSER) as answer:
            assert answer.status == 401
            assert path == "/events" or "Sign in as an operator" in await answer.text()
        async with session.get(path, headers=bearer(ALICE)) as answer:
            assert (answer.status, answer.content_type) == (401, "application/problem+json")
        async with session.head(path, headers=bearer(OPERATOR)) as answer:
            assert answer.status == 200
        async with session.post(
            "/orders/good/status", data={"status": "cancelled", "was": "created"}
        ) as answer:
            assert answer.status == 401
    assert (await world.order("good")).status is OrderStatus.CREATED


@pytest.mark.parametrize("secret", ["a token of the tests", None])
async def test_a_browser_without_a_right_to_events_asks_for_none_and_is_led_to_the_shop(
    world: Afterlife, secret: str | None
) -> None:
    """The public page is looked at all the same; with an operator's cookie it follows them."""
    async with serving(world, token=secret, bound_to="0.0.0.0") as session:  # noqa: S104
        assert "data-follows" not in await page(session, "/", 503)
        assert f'href="{SHOP_URL}"' in await page(session, "/orders", 401 if secret else 403)
        held = {**BROWSER, "Cookie": f"{COOKIE}={token(OPERATOR)}"}
        async with session.get("/", headers=held) as answer:
            assert "data-follows" in await answer.text()


async def test_no_foreign_page_moves_an_order(world: Afterlife, session: ClientSession) -> None:
    """A browser says whose page sends a form."""
    headers = {"Origin": "http://elsewhere.example"}
    fields = {"status": "cancelled", "was": "created"}
    async with session.post("/orders/good/status", data=fields, headers=headers) as answer:
        assert answer.status == 403
    assert (await world.order("good")).status is OrderStatus.CREATED


def test_every_move_has_its_button() -> None:
    """Whatever can be asked for."""
    assert BUTTONS.keys() == EVENT_TYPES.keys()
