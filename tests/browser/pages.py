"""Pages in a browser, and waiting for what they show."""

from typing import Any

import pytest

PATIENCE_MILLISECONDS = 20_000
WCAG_AA = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}


async def opened(browser: Any, url: str, **options: Any) -> Any:
    """A page that keeps whatever goes wrong on it in ``faults``."""
    context = await browser.new_context(**options)
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    page = await context.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda line: page.faults.append(line.text) if line.type == "error" else None)
    await page.goto(url)
    return page


async def shows(page: Any, text: str) -> None:
    """Waits until the text can be seen."""
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    await playwright.expect(page.get_by_text(text).first).to_be_visible(timeout=PATIENCE_MILLISECONDS)


async def faults_of(page: Any) -> list[str]:
    """What axe finds wrong with the page as it is shown."""
    axe = pytest.importorskip("axe_playwright_python.async_playwright", reason="axe is not installed")
    found = await axe.Axe().run(page, options=WCAG_AA)
    return [
        f"{each['id']}: {node['html']}" for each in found.response["violations"] for node in each["nodes"]
    ]
