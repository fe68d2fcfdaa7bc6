"""The shop in a real browser, over a whole system: from nothing to an order that is watched, and back."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.pages import faults_of, misplaced_on, opened, shows
from tests.harness.embedded import operator_of_embedded
from tests.harness.terminal import Operator
from tests.harness.waiting import wait_until

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

FIRST_PORT = 29_000


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator who has brought the whole system up in one process, with products to look at."""
    with operator_of_embedded(tmp_path_factory.mktemp("shop") / "data", FIRST_PORT) as operator:
        operator.types("up", "--mode", "embedded")
        operator.types("sample")
        yield operator


@pytest.fixture(scope="module")
def url(operator: Operator) -> str:
    """Where the shop is."""
    return f"{operator.status()['services']['api_gateway']['url']}/shop"


def card(page: Any, text: str) -> Any:
    """The newest order that says so."""
    return page.locator("#orders .order", has_text=text).first


async def test_an_order_is_placed_with_the_keyboard_watched_and_cancelled(
    browser: Any, operator: Operator, url: str
) -> None:
    """Without an account and without a reload; what the operator does to it appears by itself."""
    page = await opened(browser, url)
    await page.get_by_label("Add Mug, blue").focus()
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Order", exact=True).focus()
    await page.keyboard.press("Enter")
    order = card(page, "Mug, blue")
    await playwright.expect(order).to_contain_text("you were told")
    await playwright.expect(order.locator(".state")).to_have_text("confirmed")
    order_id = await order.locator("code").inner_text()
    operator.types("order", "process", order_id)
    await playwright.expect(order.locator(".state")).to_have_text("being prepared")
    await order.get_by_role("button", name="Cancel").click()
    await playwright.expect(order.locator(".state")).to_have_text("cancelled")
    assert '"cancelled"' in operator.types("order", "show", order_id, "--json")
    await page.reload()
    await playwright.expect(card(page, order_id).locator(".state")).to_have_text("cancelled")
    assert page.faults == []


async def test_an_order_goes_from_the_shop_to_the_door(browser: Any, operator: Operator, url: str) -> None:
    """A customer and an operator, each at a page that is never reloaded, up to a delivered order."""
    shop = await opened(browser, url)
    desk = await opened(browser, f"{operator.status()['services']['dashboard']['url']}/orders")
    await shop.evaluate("window.stays = true")
    await shop.get_by_label("Add Mug, blue").click()
    await shop.get_by_role("button", name="Order", exact=True).click()
    state = card(shop, "Mug, blue").locator(".state")
    await playwright.expect(state).to_have_text("confirmed")
    order_id = await card(shop, "Mug, blue").locator("code").inner_text()
    await desk.get_by_role("link", name=order_id).first.click()  # it has come up by itself
    for button, told in (
        ("Prepare it", "being prepared"),
        ("It is shipped", "shipped"),
        ("It is delivered", "delivered"),
    ):
        await desk.get_by_role("button", name=button).click()
        await playwright.expect(state).to_have_text(told)
    await playwright.expect(desk.locator(".verdict")).to_have_text("delivered")
    assert await shop.evaluate("window.stays")
    assert (shop.faults, desk.faults) == ([], [])


async def test_a_customer_signs_up_orders_and_finds_the_order_again(browser: Any, url: str) -> None:
    """It is theirs, also after the cookie with the token has run out: signed out it is not shown. How they
    are told of it is chosen with the keyboard, and stays so."""
    page = await opened(browser, url)
    await page.clock.install()
    await page.get_by_label("I am new here").check()
    await page.get_by_label("Name").fill("zoe")
    await page.get_by_label("Password").fill("a password of some length")
    await page.get_by_label("E-mail", exact=True).fill("zoe@shop.example")
    await page.get_by_role("button", name="Make an account").click()
    await shows(page, "Welcome, zoe.")
    await page.context.clear_cookies(name="order_pipeline_token")
    await page.clock.fast_forward("16:00")
    await page.get_by_label("Add Bread knife").click()
    await page.get_by_role("button", name="Order", exact=True).click()
    await playwright.expect(card(page, "Bread knife")).to_contain_text("confirmed")
    await page.reload()
    await playwright.expect(card(page, "Bread knife").locator(".state")).to_have_text("confirmed")
    await page.get_by_label("by mail").press("Space")
    await shows(page, "You will be told by your webhooks.")
    await page.reload()
    await playwright.expect(page.get_by_label("by mail")).not_to_be_checked()
    await playwright.expect(page.get_by_label("by my webhooks")).to_be_checked()
    await page.get_by_label("Cancel order").click()
    await playwright.expect(card(page, "Bread knife")).to_contain_text("cancelled")
    await page.reload()
    await page.set_viewport_size({"width": 360, "height": 740})
    assert [*await misplaced_on(page), *await faults_of(page)] == []
    await page.get_by_role("button", name="Sign out").click()
    await shows(page, "You are signed out.")
    await playwright.expect(page.get_by_label("by mail")).to_be_hidden()
    await playwright.expect(page.locator("#orders .order")).to_have_count(0)
    assert page.faults == []


async def test_an_operator_finds_no_orders_of_others_among_its_own(
    browser: Any, operator: Operator, url: str
) -> None:
    """Who may see everybody's orders sees them on the dashboard."""
    made = json.loads(operator.types("user", "add", "oscar", "--role", "operator", "--json"))
    page = await opened(browser, url)
    await page.get_by_label("Name").fill("oscar")
    await page.get_by_label("Password").fill(made["password"])
    async with page.expect_response("**/orders?*") as listed:
        await page.get_by_role("button", name="Sign in", exact=True).click()
    assert (await (await listed.value).json())["orders"] == []
    await playwright.expect(page.locator("#orders .order")).to_have_count(0)


async def test_what_is_sold_out_is_said_with_the_order(browser: Any, url: str) -> None:
    """Nothing is taken, and what is typed meanwhile stays."""
    page = await opened(browser, url)
    stock = page.locator(".product", has_text="Phone case, clear").locator(".quiet")
    before = await stock.inner_text()
    await page.get_by_label("Add Phone case, clear").click()
    await page.get_by_label("Pieces of Bread knife").fill("3")
    await page.get_by_role("button", name="Order", exact=True).click()
    await playwright.expect(stock).not_to_have_text(before)
    await playwright.expect(page.get_by_label("Pieces of Bread knife")).to_have_value("3")
    await page.get_by_label("Pieces of Desk lamp").fill("50")
    await page.get_by_label("Add Desk lamp").click()
    await page.get_by_role("button", name="Order", exact=True).click()
    order = card(page, "Desk lamp")
    await playwright.expect(order.locator(".state")).to_have_text("not possible")
    await playwright.expect(order).to_contain_text("not enough of it left")
    await playwright.expect(order.get_by_role("button", name="Cancel")).to_have_count(0)


async def test_a_gateway_that_does_not_answer_is_asked_again_for_the_same_order(
    browser: Any, operator: Operator, url: str
) -> None:
    """The first answer is lost on its way: there is one order all the same."""
    page = await opened(browser, url)
    lost: list[str] = []

    async def lose(route: Any) -> None:
        if route.request.method != "POST" or lost:
            await route.continue_()
            return
        lost.append(await (await route.fetch()).text())
        await route.abort()

    await page.route("**/orders", lose)
    await page.get_by_label("Add Tea pot, cast iron").click()
    await page.get_by_role("button", name="Order", exact=True).click()
    await shows(page, "you will not order twice")
    order = card(page, "Tea pot")
    await playwright.expect(order).to_contain_text("confirmed")
    assert await order.locator("code").inner_text() in lost[0]
    await playwright.expect(page.locator("#orders .order")).to_have_count(1)


async def test_a_stream_that_is_refused_is_asked_for_again_after_a_pause(browser: Any, url: str) -> None:
    """A gateway in trouble is not stormed by the pages that watch orders."""
    page = await opened(browser, url)
    asked: list[float] = []

    async def refuse(route: Any) -> None:
        asked.append(time.monotonic())
        await (route.fulfill(status=503) if len(asked) == 1 else route.continue_())

    await page.route("**/events", refuse)
    await page.get_by_label("Add Mug, blue").click()
    await page.get_by_role("button", name="Order", exact=True).click()
    await wait_until(lambda: len(asked) > 1, what="it is asked for again")
    assert asked[1] - asked[0] > 1
    await playwright.expect(card(page, "Mug, blue")).to_contain_text("you were told")


async def test_a_session_that_ends_while_an_order_is_asked_for_again_makes_no_second_one(
    browser: Any, url: str
) -> None:
    """The key stays with the basket: ordering once more is asking for the same order."""
    page = await opened(browser, url)
    lost: list[str] = []

    async def lose_and_refuse(route: Any) -> None:
        if route.request.method != "POST" or len(lost) == 2:
            await route.continue_()
        elif lost:
            lost.append("refused")
            await route.fulfill(status=401, content_type="application/problem+json", body='{"detail": "no"}')
        else:
            lost.append(await (await route.fetch()).text())
            await route.abort()

    await page.route("**/orders", lose_and_refuse)
    await page.get_by_label("Add A field guide to queues").click()
    await page.get_by_role("button", name="Order", exact=True).click()
    await shows(page, "Sign in to order. The basket stays.")
    await page.get_by_role("button", name="Order", exact=True).click()
    order = card(page, "field guide")
    await playwright.expect(order).to_contain_text("confirmed")
    assert await order.locator("code").inner_text() in lost[0]


async def test_an_unclear_order_is_never_asked_for_under_another_account(browser: Any, url: str) -> None:
    """Who signs out meanwhile keeps its key: it is asked for once that account is back."""
    page = await opened(browser, url)
    asked: list[str] = []

    async def unclear(route: Any) -> None:
        if route.request.method == "POST":
            asked.append(route.request.headers["idempotency-key"])
            await route.fulfill(status=503, content_type="application/problem+json", body='{"detail": "no"}')
        else:
            await route.continue_()

    await page.get_by_label("I am new here").check()
    await page.get_by_label("Name").fill("yara")
    await page.get_by_label("Password").fill("a password of some length")
    await page.get_by_label("E-mail", exact=True).fill("yara@shop.example")
    await page.get_by_role("button", name="Make an account").click()
    await shows(page, "Welcome, yara.")
    await page.route("**/orders", unclear)
    await page.get_by_label("Add Mug, blue").click()
    await page.get_by_role("button", name="Order", exact=True).click()
    await shows(page, "you will not order twice")
    await page.get_by_role("button", name="Sign out").click()
    await shows(page, "Sign in to order.")
    await page.unroute("**/orders")
    await playwright.expect(page.locator("#orders .order")).to_have_count(0)
    assert len(set(asked)) == 1
    await page.get_by_label("Name").fill("yara")
    await page.get_by_label("Password").fill("a password of some length")
    await page.get_by_role("button", name="Sign in", exact=True).click()
    await shows(page, "Welcome, yara.")
    await page.reload()
    await playwright.expect(card(page, "Mug, blue")).to_contain_text("confirmed")
    await playwright.expect(page.locator("#orders .order")).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_shop_fits_a_phone_and_can_be_used_by_all(browser: Any, url: str, scheme: str) -> None:
    """No sideways scrolling, and nothing that WCAG AA forbids; without a script it says what to do."""
    page = await opened(browser, url, color_scheme=scheme, viewport={"width": 360, "height": 740})
    await page.get_by_label("Add Phone case, clear").click()
    await shows(page, "In all")
    assert await misplaced_on(page) == []
    assert await faults_of(page) == []
    await page.get_by_role("button", name="Order", exact=True).click()
    await playwright.expect(card(page, "Phone case")).to_contain_text("confirmed")
    assert await faults_of(page) == []
    bare = await opened(browser, url, java_script_enabled=False)
    await playwright.expect(bare.get_by_role("link", name="/docs")).to_be_visible()
