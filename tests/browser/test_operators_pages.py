"""An operator's pages in a real browser: live by events, without a reload, for every reader and screen."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from dashboard.dead_letters.letter import Wanted
from dashboard.overview.state import NodeState, NodeStatus
from shared.orders.model import OrderStatus
from tests.browser.pages import faults_of, misplaced_on, opened, shows
from tests.harness.afterlife import Afterlife, afterlife
from tests.harness.dashboard import NODES, STORE, dashboard, with_nodes
from tests.harness.dead_dashboard import serving
from tests.harness.examples import an_order
from tests.harness.moving import moved

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")


@pytest.fixture
async def world() -> AsyncIterator[Afterlife]:
    """An order that was decided, and two that died of the stock of their SKU."""
    async with afterlife() as made:
        await made.stock("cable", "1e3")
        await made.stock("lamp", 10)
        await made.accept(an_order("good", email=None, lamp=2))
        for order_id in ("bad", "worse"):
            await made.accept(an_order(order_id, email=None, cable=1))
        await made.work()
        await made.stock("cable", 10)
        yield made


@pytest.fixture
async def url(world: Afterlife) -> AsyncIterator[str]:
    """Where a dashboard shows them, that by the clock alone would renew its pages every 30 s."""
    async with serving(world) as session:
        yield str(session._base_url).rstrip("/")


async def test_an_order_is_watched_and_cancelled(browser: Any, world: Afterlife, url: str) -> None:
    """What others do to it appears by itself, and what is being typed stays; then it is moved by its page."""
    page = await opened(browser, f"{url}/orders")
    await page.get_by_role("link", name="good").first.click()
    reason = page.get_by_label("Reason")
    await reason.fill("the lamp is bro")
    await page.evaluate("window.stays = true")
    await moved(world.redis, "good", OrderStatus.PROCESSING)
    await playwright.expect(page.get_by_role("button", name="It is shipped")).to_be_visible()
    assert await page.evaluate("window.stays")
    assert await reason.input_value() == "the lamp is bro"
    await reason.fill("the lamp is broken")
    await page.get_by_role("button", name="Cancel it").click()
    await shows(page, ": the lamp is broken")
    assert (await world.order("good")).status is OrderStatus.CANCELLED
    assert page.faults == []


async def test_dead_letters_are_read_and_sent_back(browser: Any, world: Afterlife, url: str) -> None:
    """With the keyboard alone; what is open stays open although a letter comes in the meantime."""
    page = await opened(browser, f"{url}/dead-letters")
    summary = page.locator("summary").first
    await summary.focus()
    await page.keyboard.press("Enter")
    body = page.locator("pre").first
    await playwright.expect(body).to_contain_text('"subject": "bad"')
    await world.stock("cable", "1e3")
    await world.accept(an_order("third", email=None, cable=1))
    await world.work()
    await world.stock("cable", 10)
    await shows(page, "3 letters in")
    await playwright.expect(body).to_be_visible()
    await page.get_by_role("button", name="Send back all of this kind").focus()
    await page.keyboard.press("Enter")
    await shows(page, "3 letters sent back")
    await world.work()
    await page.get_by_role("link", name="third").first.click()
    await shows(page, "by order_processor")
    assert page.faults == []


async def test_a_dead_letter_is_corrected(browser: Any, world: Afterlife, url: str) -> None:
    """What is being typed stays although a letter before it goes; then it is on its way, and noted."""
    first, second = (await world.letters()).letters
    page = await opened(browser, f"{url}/dead-letters")
    letter = page.locator("details.letter").nth(1)
    await letter.locator("summary").first.click()
    await letter.get_by_text("Correct it and send it back").click()
    body = page.get_by_label("Its new body, of the same order")
    whole = await letter.locator("textarea").input_value()
    await letter.locator("textarea").fill("{")
    assert (await world.do(world.drop(), Wanted(ids=[first.id]))).done == 1
    await shows(page, "1 letter in")
    await playwright.expect(body).to_be_visible()
    assert await body.input_value() == "{"
    await body.fill(whole)
    await page.get_by_role("button", name="Send back corrected").click()
    await shows(page, "with a corrected body")
    await world.work()
    assert (await world.order(second.order_id or "")).status is OrderStatus.CREATED
    assert page.faults == []


async def test_without_a_script_nothing_takes_away_what_is_being_written(
    browser: Any, world: Afterlife, url: str
) -> None:
    """A page on which people write does not reload itself; by hand it does, and the others go on doing so."""
    page = await opened(browser, f"{url}/dead-letters", java_script_enabled=False)
    written = ("dead-letters", "orders/good")
    for path in (*written, "orders", "stock"):
        await page.goto(f"{url}/{path}")
        again, reload = page.get_by_role("link", name="Look again"), page.locator("meta[http-equiv=refresh]")
        assert (await again.count(), await reload.count()) == ((1, 0) if path in written else (0, 1)), path
    await page.goto(f"{url}/dead-letters")
    await world.do(world.drop())
    await page.get_by_role("link", name="Look again").click()
    await shows(page, "Every message has found its end.")
    assert await page.locator("meta[http-equiv=refresh]").count() == 1


async def test_texts_that_lie_over_one_another_are_noticed(browser: Any, url: str) -> None:
    """What looks at layouts sees a heading that was pushed into the navigation, and one beside the page."""
    page = await opened(browser, f"{url}/orders")
    assert await misplaced_on(page) == []
    move = "(place) => Object.assign(document.querySelector('h1').style, { position: 'absolute', ...place })"
    await page.evaluate(move, {"top": "1.3rem", "left": "4.3rem"})
    assert "Pipeline / Orders" in await misplaced_on(page)
    await page.evaluate(move, {"left": "-1rem"})
    assert "left of the page: Orders" in await misplaced_on(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_every_page_fits_and_can_be_read_by_all(
    browser: Any, world: Afterlife, url: str, scheme: str, width: int
) -> None:
    """No sideways scrolling, and nothing that WCAG AA forbids, as far as a program can tell."""
    await world.do(world.drop(), Wanted(ids=["worse"]))  # so that something was done
    page = await opened(
        browser, f"{url}/orders", color_scheme=scheme, viewport={"width": width, "height": 800}
    )
    for path in (
        *("orders", "orders/good", "orders/bad", "orders/nope", "orders?status=created"),
        *("dead-letters", "stock"),
    ):
        await page.goto(f"{url}/{path}")
        await page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
        assert await misplaced_on(page) == [], path
        assert await faults_of(page) == [], path
    async with dashboard() as served:
        await page.goto(served.url)
        assert await faults_of(page) == []
        assert await misplaced_on(page) == []
        served.store.figures = replace(STORE, outbox_oldest_seconds=90.0)
        served.brokers.seen = with_nodes(
            served.brokers.seen, [NodeState(node=NODES[2], status=NodeStatus.NOT_RUNNING)]
        )
        await shows(page, "does not run")
        assert await faults_of(page) == []
