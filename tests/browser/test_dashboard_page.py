"""The dashboard's page in a real browser: with JavaScript and without, light and dark, wide and narrow."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from dashboard.overview import page as overview_page
from dashboard.overview.brokers import INTAKES
from dashboard.overview.state import NodeState, NodeStatus, ServiceState
from shared.pipeline import NOTIFIER
from tests.browser.pages import PATIENCE_MILLISECONDS, opened, shows
from tests.harness.dashboard import NODES, SERVICES, STORE, Dashboard, dashboard, with_nodes

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")

BROKEN_WORDS = """() => {
  const found = [];
  const texts = [...document.querySelectorAll(".flow .name")].flatMap((name) => [...name.childNodes]);
  for (const text of texts) {
    const range = document.createRange();
    for (const { 0: word, index } of text.data?.matchAll(/\\S+/g) ?? []) {
      range.setStart(text, index);
      range.setEnd(text, index + word.length);
      if (range.getClientRects().length > 1) found.push(word);
    }
  }
  return found;
}"""


@pytest.fixture
async def served() -> AsyncIterator[Dashboard]:
    """A dashboard that has good news and renews its page every second."""
    async with dashboard() as running:
        yield running


async def test_the_page_renews_itself_without_javascript(browser: Any, served: Dashboard) -> None:
    """Everything is readable, and new figures come by themselves."""
    page = await opened(browser, served.url, java_script_enabled=False)
    await shows(page, "1,601")
    await shows(page, "mag-safe-phone-case")
    served.store.figures = replace(STORE, processed=1_777)
    await shows(page, "1,777")


async def test_the_page_renews_itself_in_place(browser: Any, served: Dashboard) -> None:
    """With JavaScript nothing is reloaded: what a person is typing stays."""
    page = await opened(browser, served.url)
    await page.get_by_label("SKU").fill("half a na")
    served.store.figures = replace(STORE, processed=1_777)
    served.brokers.seen = with_nodes(
        served.brokers.seen, [NodeState(node=NODES[2], status=NodeStatus.NOT_RUNNING)]
    )
    await shows(page, "1,777")
    await shows(page, f"Broker node {NODES[2]} does not run")
    assert await page.title() == "1 thing needs attention – order pipeline"
    assert await page.get_by_label("SKU").input_value() == "half a na"
    assert page.faults == []


async def test_the_page_says_when_it_is_cut_off(browser: Any, served: Dashboard) -> None:
    """Old figures are marked as such once the dashboard is gone, and renewed once it is back."""
    page = await opened(browser, served.url)
    lost = page.get_by_text("The dashboard does not answer")
    await playwright.expect(lost).to_be_hidden()
    await page.context.set_offline(True)
    await playwright.expect(lost).to_be_visible(timeout=PATIENCE_MILLISECONDS)
    await page.context.set_offline(False)
    await playwright.expect(lost).to_be_hidden(timeout=PATIENCE_MILLISECONDS)


async def test_a_store_that_goes_away_does_not_take_the_page_along(browser: Any, served: Dashboard) -> None:
    """It says so in place, and recovers in place."""
    page = await opened(browser, served.url)
    served.store.away = True
    await shows(page, "Not known while the store is away.")
    served.store.away = False
    await shows(page, "All is well")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
async def test_the_page_fits(
    browser: Any, served: Dashboard, monkeypatch: pytest.MonkeyPatch, scheme: str, width: int
) -> None:
    """No sideways scrolling on a phone, colours by the system's choice, nothing refused by our own policy.

    Names of further consumers' queues break between their parts at most.
    """
    further = [
        replace(NOTIFIER, service=name, queues=name) for name in ("fraud_check", "loyalty_points", "webhooks")
    ]
    monkeypatch.setattr(overview_page, "CONSUMPTIONS", (*INTAKES, NOTIFIER, *further))
    viewport = {"width": width, "height": 800}
    page = await opened(browser, served.url, color_scheme=scheme, viewport=viewport)
    await shows(page, "All is well")
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert await page.evaluate(BROKEN_WORDS) == []
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(245, 246, 248)", "dark": "rgb(18, 22, 28)"}[scheme]
    assert page.faults == []


async def test_a_look_up_answers_on_the_page(browser: Any, served: Dashboard) -> None:
    """The form asks with a plain GET, whose address can be shared."""
    page = await opened(browser, served.url)
    await page.get_by_label("SKU").fill("nope")
    await page.get_by_role("button", name="Look up").click()
    await shows(page, "has no stock entry")
    assert "sku=nope" in page.url


async def test_renewing_leaves_alone_what_has_not_changed(browser: Any, served: Dashboard) -> None:
    """Selection, scroll and the very elements stay, although rows come and figures change around them."""
    page = await opened(browser, served.url, viewport={"width": 390, "height": 600})
    await page.evaluate(
        """() => {
          window.row = [...document.querySelectorAll("th")].find((head) => head.textContent == "orders.dead");
          getSelection().selectAllChildren(window.row);
          scrollTo(0, 500);
        }"""
    )
    served.store.figures = replace(STORE, processed=1_777, inventory={"aaa": 1, **STORE.inventory})
    await shows(page, "1,777")
    await shows(page, "aaa")
    assert await page.evaluate("[getSelection().toString(), scrollY, row.isConnected]") == [
        "orders.dead",
        500,
        True,
    ]
    served.store.figures = STORE
    await playwright.expect(page.get_by_text("aaa")).to_have_count(0, timeout=PATIENCE_MILLISECONDS)
    assert page.faults == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_what_is_red_can_be_seen_on_a_phone(browser: Any, served: Dashboard, scheme: str) -> None:
    """Every cell that alarms lies within the screen's width, as far as it can be scrolled down."""
    served.services.seen = [ServiceState(name="api_gateway", silence="connection refused"), *SERVICES[1:]]
    served.brokers.seen = replace(
        served.brokers.seen,
        queues={name: replace(queue, online=NODES[:2]) for name, queue in served.brokers.seen.queues.items()},
    )
    page = await opened(browser, served.url, color_scheme=scheme, viewport={"width": 360, "height": 700})
    await shows(page, "api_gateway: connection refused")
    boxes = await page.evaluate(
        """[...document.querySelectorAll(".bad")].map((each) => each.getBoundingClientRect())
             .map((box) => [box.left, box.right])"""
    )
    assert len(boxes) > 6
    assert all(0 <= left < right <= 360 for left, right in boxes)


async def test_an_order_can_be_followed(browser: Any, served: Dashboard) -> None:
    """One that the store does not have may be the ledger's, and it says how to see that."""
    page = await opened(browser, served.url)
    await page.get_by_role("textbox", name="Order").fill("nope")
    await page.get_by_role("button", name="Look up").click()
    await shows(page, "is not in the store")
