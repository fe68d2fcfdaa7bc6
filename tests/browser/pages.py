"""Pages in a browser, and waiting for what they show."""

from typing import Any

import pytest

PATIENCE_MILLISECONDS = 20_000
WCAG_AA = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"],
    "resultTypes": ["violations"],  # of the others no element is described, which takes most of the time
}


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


OVERLAPS = """() => {
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { parentElement, data } = walker.currentNode;
    const isSeen = parentElement.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
    const floats = ["fixed", "sticky"].includes(getComputedStyle(parentElement).position);
    if (!data.trim() || !isSeen || floats) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    for (const box of range.getClientRects()) {
      const clip = parentElement.closest("pre, textarea")?.getBoundingClientRect();
      if (box.width > 1 && (!clip || box.bottom <= clip.bottom)) texts.push([box, data.trim().slice(0, 40)]);
    }
  }
  const shared = (a, b, from, to) => Math.min(a[to], b[to]) - Math.max(a[from], b[from]);
  const covers = (a, b) => shared(a, b, "left", "right") > 2 && shared(a, b, "top", "bottom") > 4;
  const found = texts.flatMap(([box, text], index) =>
    texts.slice(index + 1).filter(([other]) => covers(box, other)).map(([, other]) => `${text} / ${other}`));
  const right = document.documentElement.clientWidth;
  return [...found, ...texts.filter(([box]) => box.left < 0).map(([, text]) => `left of the page: ${text}`),
    ...(document.documentElement.scrollWidth > right ? ["it scrolls sideways"] : [])];
}"""


async def misplaced_on(page: Any) -> list[str]:
    """Texts that lie over one another, or beside the page."""
    found: list[str] = await page.evaluate(OVERLAPS)
    return found
