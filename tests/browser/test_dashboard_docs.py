"""The dashboard's own description in a real browser: all of it, and usable."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.browser.pages import faults_of, opened
from tests.harness.afterlife import afterlife
from tests.harness.dashboard import Dashboard, dashboard
from tests.harness.dead_dashboard import serving

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")


@pytest.fixture
async def served() -> AsyncIterator[Dashboard]:
    """A dashboard that knows where browsers find the gateway."""
    async with dashboard("http://127.0.0.1:8080") as running:
        yield running


async def docs(browser: Any, url: str, **options: Any) -> Any:
    """The page, drawn."""
    page = await opened(browser, f"{url.rstrip('/')}/docs", **options)
    await page.wait_for_selector("#metrics")
    return page


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    """A session with a whole dashboard: its pages and what it does with dead letters are there too."""
    async with afterlife() as world, serving(world) as made:
        yield made


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
async def test_every_operation_is_drawn(
    browser: Any, session: ClientSession, scheme: str, width: int
) -> None:
    """With nothing for axe to find, nothing blocked by the page's policy, and nothing scrolling sideways."""
    async with session.get("/openapi.json") as answer:
        described = await answer.json()
    viewport = {"width": width, "height": 800}
    page = await docs(browser, str(answer.url.origin()), color_scheme=scheme, viewport=viewport)
    drawn = await page.locator("section h3 .method").all_inner_texts()
    assert sorted(drawn) == sorted(method.upper() for path in described["paths"].values() for method in path)
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert await faults_of(page) == []
    assert page.faults == []


async def test_a_form_is_asked_for_as_one(browser: Any, session: ClientSession) -> None:
    """Each of its fields with a sound value; every path is filled in."""
    async with session.get("/livez") as answer:
        page = await docs(browser, str(answer.url.origin()))
    command = await page.locator("#moveOrderByForm .command").inner_text()
    assert "/orders/order123/status'" in command
    assert "--data-urlencode 'status=scheduled'" in command


async def test_figures_can_be_asked_for_from_the_page(browser: Any, served: Dashboard) -> None:
    """And the way to the gateway's description is there."""
    page = await docs(browser, served.url)
    section = page.locator("#metrics")
    await section.get_by_text("Try it").click()
    await section.get_by_label("sku", exact=True).fill("cable")
    await section.get_by_role("button", name="Send").click()
    await playwright.expect(section.locator("output pre")).to_contain_text('"processed_orders_count": 1601')
    await playwright.expect(page.locator("nav a[href='http://127.0.0.1:8080/docs']")).to_be_visible()
    assert page.faults == []


async def test_an_answer_without_an_end_is_shown_as_it_comes(browser: Any, served: Dashboard) -> None:
    """Until it is stopped."""
    page = await docs(browser, served.url)
    section = page.locator("#followEverything")
    await section.get_by_text("Try it").click()
    await section.get_by_role("button", name="Send").click()
    await playwright.expect(section.locator("output pre")).to_contain_text("text/event-stream")
    await section.get_by_role("button", name="Stop").click()
    await playwright.expect(section.get_by_role("button", name="Send")).to_be_visible()
    assert page.faults == []
