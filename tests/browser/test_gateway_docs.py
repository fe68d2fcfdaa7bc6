"""The API's page in a real browser: drawn under its own policy, with commands that a shell takes."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from shared.http.auth import AuthMode
from tests.browser.pages import faults_of, misplaced_on, opened
from tests.harness.http_gateway import Gateway, gateway
from tests.harness.tokens import ALICE, a_guard, token

playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
CLIPBOARD = ["clipboard-read", "clipboard-write"]


@pytest.fixture
async def served() -> AsyncIterator[Gateway]:
    """A gateway with nothing in it."""
    async with gateway() as running:
        yield running


async def docs(browser: Any, served: Gateway, **options: Any) -> Any:
    """The page, drawn where scripts may run."""
    page = await opened(browser, f"http://127.0.0.1:{served.port}/docs", **options)
    if options.get("java_script_enabled", True):
        await page.wait_for_selector("#placeOrder")
    return page


async def pasted(command: str, **environment: str) -> str:
    """What a shell prints that is given this command."""
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **environment}
    )
    printed, _ = await shell.communicate()
    return printed.decode()


async def test_every_operation_is_drawn(browser: Any, served: Gateway) -> None:
    """Each with its command; nothing is blocked by the page's policy or asked for elsewhere."""
    page = await docs(browser, served)
    drawn = await page.locator("section h3 .method").all_inner_texts()
    described = await (await served.send("GET", "/openapi.json")).json()
    assert sorted(drawn) == sorted(method.upper() for path in described["paths"].values() for method in path)
    assert await page.locator("section .command").count() == len(drawn)
    assert page.faults == []


async def test_an_order_can_be_placed_from_the_page(browser: Any, served: Gateway) -> None:
    """With the example that is filled in."""
    page = await docs(browser, served)
    section = page.locator("#placeOrder")
    await section.get_by_text("Try it").click()
    await section.get_by_role("button", name="Send").click()
    answer = section.locator("output pre")
    await playwright.expect(answer).to_contain_text("Order received: order123")
    assert [placed.order.id for placed in served.intake.placements] == ["order123"]
    assert page.faults == []


async def test_the_command_works_as_it_is_pasted(browser: Any, served: Gateway) -> None:
    """It places the example's order; pasted again, it gets the first answer again."""
    page = await docs(browser, served)
    command = await page.locator("#placeOrder .command").inner_text()
    assert (await pasted(command)).startswith("HTTP/1.1 202 ")
    assert "idempotent-replayed: true" in (await pasted(command)).lower()
    assert [placed.order.id for placed in served.intake.placements] == ["order123"]


async def test_the_command_follows_the_form_whatever_is_typed(browser: Any, served: Gateway) -> None:
    """A shell gives quotes, dollars and signs of paths on as they are."""
    page = await docs(browser, served)
    order = {"id": "o1", "sku": "cable", "qty": 1, "email": "o'hara$HOME`id`@example.com"}
    section = page.locator("#placeOrder")
    await section.get_by_text("Try it").click()
    await section.get_by_label("Body").fill(orjson.dumps(order).decode())
    assert (await pasted(await section.locator(".command").inner_text())).startswith("HTTP/1.1 202 ")
    assert served.intake.placements[0].order.email == order["email"]
    section = page.locator("#getInventory")
    await section.get_by_text("Try it").click()
    await section.get_by_label("sku", exact=True).fill("it's a/b?")
    assert "/inventory/it'\\''s%20a%2Fb%3F" in await section.locator(".command").inner_text()


async def test_half_a_surrogate_pair_stops_neither_command_nor_form(browser: Any, served: Gateway) -> None:
    """It is pasted with half of an emoji; the form was dead from then on."""
    page = await docs(browser, served)
    section = page.locator("#getInventory")
    await section.get_by_text("Try it").click()
    half = """input => {
      input.value = "a\\ud83d";
      input.dispatchEvent(new Event("input", { bubbles: true }));
    }"""
    await section.get_by_label("sku", exact=True).evaluate(half)
    assert "/inventory/a%EF%BF%BD'" in await section.locator(".command").inner_text()
    await section.get_by_role("button", name="Send").click()
    await playwright.expect(section.locator("output pre")).to_contain_text("/problems/")
    assert await section.get_by_role("button", name="Send").count() == 1
    assert all("status of 4" in each for each in page.faults)


async def test_another_content_gets_another_key(browser: Any, served: Gateway) -> None:
    """Unless the reader chose one: that stays."""
    page = await docs(browser, served)
    section = page.locator("#placeOrder")
    await section.get_by_text("Try it").click()
    key, body = section.get_by_label("Idempotency-Key"), section.get_by_label("Body")
    first = await key.input_value()
    await section.get_by_label("Example").select_option(index=1)
    second = await key.input_value()
    await body.fill("{}")
    assert len({first, second, await key.input_value()}) == 3
    await key.fill("my own")
    await body.fill("[]")
    assert await key.input_value() == "my own"
    assert "'Idempotency-Key: my own'" in await section.locator(".command").inner_text()


async def test_a_command_takes_its_token_from_the_environment(browser: Any) -> None:
    """Where one is needed; one that is typed is sent from the page, and stands in no command."""
    async with gateway(guard=a_guard(AuthMode.REQUIRED)) as served:
        page = await docs(browser, served)
        command = await page.locator("#placeOrder .command").inner_text()
        assert '-H "Authorization: Bearer $TOKEN"' in command
        assert (await pasted(command, TOKEN="none")).startswith("HTTP/1.1 401 ")
        assert (await pasted(command, TOKEN=token(ALICE))).startswith("HTTP/1.1 202 ")
        public = page.locator("#listProducts .command")
        assert "Authorization" not in await public.inner_text()
        await page.get_by_role("textbox", name="Access token").fill(token(ALICE))
        assert "Bearer $TOKEN" in await public.inner_text()
        assert token(ALICE) not in await page.content()


async def test_the_command_can_be_copied(browser: Any, served: Gateway) -> None:
    """And the page says so, aloud too."""
    page = await docs(browser, served, permissions=CLIPBOARD)
    section = page.locator("#placeOrder")
    await section.get_by_role("button", name="Copy").click()
    await playwright.expect(section.get_by_role("status").first).to_have_text("Copied")
    copied = await page.evaluate("navigator.clipboard.readText()")
    assert copied == await section.locator(".command").text_content()


async def test_without_a_clipboard_the_command_is_selected(browser: Any, served: Gateway) -> None:
    """As at an address that is neither loopback nor HTTPS."""
    page = await docs(browser, served)
    await page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    section = page.locator("#getOrder")
    await section.get_by_role("button", name="Copy").click()
    await playwright.expect(section.get_by_role("status").first).to_contain_text("Selected")
    chosen = await page.evaluate("getSelection().toString()")
    assert chosen == await section.locator(".command").inner_text()
    assert page.faults == []


async def test_the_request_stands_beside_the_text_and_stays_there(browser: Any, served: Gateway) -> None:
    """On a wide screen, however far down its section one reads; on a phone it follows the text."""
    page = await docs(browser, served, viewport={"width": 1280, "height": 700})
    text, request = page.locator("#placeOrder .text"), page.locator("#placeOrder .beside")
    await page.locator("#placeOrder").get_by_text("Bad Request").scroll_into_view_if_needed()
    left, right = await text.bounding_box(), await request.bounding_box()
    assert left["x"] + left["width"] < right["x"]
    assert left["y"] < 0 <= right["y"] < 100
    await page.set_viewport_size({"width": 360, "height": 700})
    left, right = await text.bounding_box(), await request.bounding_box()
    assert left["y"] + left["height"] < right["y"]


async def test_an_address_of_an_operation_leads_to_it(browser: Any, served: Gateway) -> None:
    """Though it is drawn after the page was there."""
    page = await opened(browser, f"http://127.0.0.1:{served.port}/docs#removeInventory")
    await playwright.expect(page.locator("#removeInventory h3")).to_be_in_viewport()


async def test_the_dashboards_description_is_linked_where_its_address_is_known(browser: Any) -> None:
    """Without a script too."""
    for url, links in ((None, 0), ("http://127.0.0.1:8081", 1)):
        async with gateway(dashboard_url=url) as served:
            page = await docs(browser, served, java_script_enabled=False)
            assert await page.locator("nav a[href='http://127.0.0.1:8081/docs']").count() == links


async def test_without_a_script_the_page_says_where_the_description_is(browser: Any, served: Gateway) -> None:
    """A link, in words."""
    page = await docs(browser, served, java_script_enabled=False)
    assert await page.locator("main a[href='/openapi.json']").is_visible()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 360)])
async def test_everyone_can_read_it(browser: Any, served: Gateway, scheme: str, width: int) -> None:
    """In light and dark, wide and narrow, with a form open; nothing scrolls sideways."""
    viewport = {"width": width, "height": 800}
    page = await docs(browser, served, color_scheme=scheme, viewport=viewport)
    await page.locator("#placeOrder").get_by_text("Try it").click()
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert width > 360 or await misplaced_on(page) == []  # beside a wide page's text it scrolls by itself
    assert await faults_of(page) == []


async def test_the_keyboard_goes_past_the_contents_at_once(browser: Any, served: Gateway) -> None:
    """By a link that shows when it is reached."""
    page = await docs(browser, served)
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the text")
    await playwright.expect(skip).to_be_focused()
    await playwright.expect(skip).to_have_css("opacity", "1")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.closest('main') !== null")
