"""A real browser, where this machine has one."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SERVER = (sys.executable, "-m", "playwright", "launch-server", "--browser", "chromium", "--config")
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic")


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where Playwright serves a headless Chromium; to start one takes longer than most tests.

    Playwright launches it: to attach to one that runs awaits that one's own pages too, and hung on one.
    """
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    pytest.importorskip("playwright", reason="playwright is not installed")
    options = tmp_path_factory.mktemp("chromium") / "launch.json"
    options.write_text(json.dumps({"executablePath": CHROMIUM, "args": FLAGS, "host": "127.0.0.1"}))
    with subprocess.Popen(
        [*SERVER, options], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as server:
        assert server.stdout is not None
        try:
            address = server.stdout.readline().strip()
            assert address.startswith("ws://"), "Playwright has served no browser"
            yield address
        finally:
            os.killpg(server.pid, signal.SIGTERM)  # to Node as well, which ends its browser
            server.stdout.read()  # until Node has ended


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Any]:
    """That browser, with nothing of other tests in it: each page has a context of its own."""
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    async with playwright.async_playwright() as driver:
        connected = await driver.chromium.connect(chromium)
        yield connected
        await connected.close()
