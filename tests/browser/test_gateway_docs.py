"""The API's page in a real browser: drawn under its own policy, usable, and of use without a script too."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.harness.http_gateway import Gateway, gateway


@pytest.fixture
async def served() -> AsyncIterator[Gateway]:
    """A gateway with nothing in it."""
    async with gateway() as running:
        yield running


async def opened(browser: Any, served: Gateway, **options: Any) -> Any:
    """The page, and in ``page.faults`` whatever went wrong on it."""
    context = await browser.new_context(**options)
    page = await context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda line: page.faults.append(line.text) if line.type == "error" else None)
    await page.goto(f"http://127.0.0.1:{served.port}/docs")
    return page


async def test_every_operation_is_drawn(browser: Any, served: Gateway) -> None:
    """And nothing is blocked by the page's policy or asked for elsewhere."""
    page = await opened(browser, served)
    await page.wait_for_selector("#placeOrder")
    drawn = await page.locator("section h2 .method").all_inner_texts()
    described = await (await served.send("GET", "/openapi.json")).json()
    assert sorted(drawn) == sorted(method.upper() for path in described["paths"].values() for method in path)
    assert page.faults == []


async def test_an_order_can_be_placed_from_the_page(browser: Any, served: Gateway) -> None:
    """With the example that is filled in."""
    page = await opened(browser, served)
    section = page.locator("#placeOrder")
    await section.get_by_text("Try it").click()
    await section.get_by_role("button", name="Send").click()
    answer = section.locator("output pre")
    await answer.wait_for()
    assert "Order received: order123" in await answer.inner_text()
    assert [placed.order.id for placed in served.intake.placements] == ["order123"]
    assert page.faults == []


async def test_without_a_script_the_page_says_where_the_description_is(browser: Any, served: Gateway) -> None:
    """A link, in words."""
    page = await opened(browser, served, java_script_enabled=False)
    assert await page.locator("main a[href='/openapi.json']").is_visible()


async def test_a_narrow_screen_needs_no_sideways_scrolling(browser: Any, served: Gateway) -> None:
    """As wide as a telephone."""
    page = await opened(browser, served, viewport={"width": 390, "height": 800})
    await page.wait_for_selector("#placeOrder")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
