"""A real browser, where this machine has one."""

import re
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-port=0"),
)

LISTENING = re.compile(r"DevTools listening on (ws://\S+)")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a headless Chromium can be told what to do; to start one takes longer than most tests."""
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    profile = tmp_path_factory.mktemp("chromium")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = (LISTENING.search(line) for line in process.stderr)
            found = next((each for each in said if each), None)
            assert found, "Chromium ended"
            threading.Thread(target=process.stderr.read, daemon=True).start()  # drained
            yield found[1]
        finally:
            process.terminate()


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Any]:
    """That browser, with nothing of other tests in it: each page has a context of its own."""
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    async with playwright.async_playwright() as driver:
        connected = await driver.chromium.connect_over_cdp(chromium)
        yield connected
        await connected.close()
