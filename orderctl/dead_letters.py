"""The dead letters over the dashboard's HTTP API, which is the same in every mode of running the pipeline.

Everything that is asked here may be asked again: looking changes nothing, and an action has its effect at
most once. So a dashboard that is busy is asked a few times before the operator is bothered.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import orjson
from pydantic import SecretStr
from pydantic_settings import BaseSettings

from orderctl.errors import OrderctlError
from orderctl.modes import current_system
from shared.settings import settings_config

URL_VARIABLE: Final = "ORDERCTL_DASHBOARD_URL"
LINES: Final = "application/x-ndjson"
MOST_ATTEMPTS: Final = 5
BUSY: Final = 503
SILENCE_SECONDS: Final = 60.0
"""How long the dashboard may say nothing; a long action says something about every batch of letters."""

OnLine = Callable[[Mapping[str, Any]], None]


class _DashboardAccess(BaseSettings):
    """The same variable that the dashboard reads, from the environment or from ``.env``."""

    model_config = settings_config("DASHBOARD_")

    token: SecretStr | None = None


class _Busy(Exception):
    """Raised when the dashboard asks to come again."""


def dashboard_url(url: str | None, data_dir: Path | None) -> str:
    """The option, else `ORDERCTL_DASHBOARD_URL`, else where the system of this machine has its dashboard."""
    chosen = url or os.environ.get(URL_VARIABLE)
    return (chosen or current_system(data_dir).url("dashboard")).rstrip("/")


def dashboard_token(url: str | None, data_dir: Path | None) -> str | None:
    """What the system of this machine made up for its own dashboard; None for anybody else's."""
    if url or os.environ.get(URL_VARIABLE):
        return None
    return current_system(data_dir).dashboard_token()


class DeadLetterClient:
    """One session with the dashboard; made by `connect`. Every method raises OrderctlError."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def find(self, query: Mapping[str, Any]) -> Mapping[str, Any]:
        """The letters that the query means, and how many lie where."""
        (answer,) = await self._ask(
            "GET", "/dead", params={name: str(value) for name, value in query.items()}
        )
        return answer

    async def show(self, letter_id: str) -> Mapping[str, Any]:
        """One letter, by its id or its order's."""
        (answer,) = await self._ask("GET", f"/dead/{quote(letter_id, safe=':')}")
        return answer

    async def act(
        self, action: str, body: Mapping[str, Any], on_line: OnLine = lambda _: None
    ) -> Mapping[str, Any]:
        """Redrives or drops; `on_line` is told how it goes on. Returns the sum of it."""
        lines = await self._ask(
            "POST", f"/dead/{action}", on_line=on_line, json=body, headers={"Accept": LINES}
        )
        summary = lines[-1].get("summary") if lines else None
        if not isinstance(summary, dict):
            raise OrderctlError(f"{self._url} broke off; ask again: what was done is not done twice")
        return summary

    async def _ask(
        self, method: str, path: str, *, on_line: OnLine = lambda _: None, **options: Any
    ) -> list[Mapping[str, Any]]:
        for attempt in range(1, MOST_ATTEMPTS + 1):
            try:
                return await self._once(method, path, on_line, **options)
            except _Busy as error:
                if attempt == MOST_ATTEMPTS:
                    raise OrderctlError(str(error)) from error
                await asyncio.sleep(1.0)
            except (aiohttp.ClientError, TimeoutError, ssl.SSLError) as error:
                reason = str(error) or type(error).__name__
                raise OrderctlError(
                    f"{self._url} does not answer: {reason}", advice="orderctl status"
                ) from error
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, method: str, path: str, on_line: OnLine, **options: Any) -> list[Mapping[str, Any]]:
        async with self._session.request(method, self._url + path, **options) as answer:
            if answer.status != 200:
                raise _failure(answer.status, await answer.read())
            if answer.content_type != LINES:
                return [orjson.loads(await answer.read())]
            last: Mapping[str, Any] = {}
            async for line in answer.content:
                last = orjson.loads(line)
                on_line(last)
            return [last]


def _failure(status: int, content: bytes) -> Exception:
    try:
        problem = orjson.loads(content)
    except orjson.JSONDecodeError:
        problem = {}
    title = problem.get("title") or f"HTTP {status}"
    text = f"{title}: {problem['detail']}" if problem.get("detail") else str(title)
    return _Busy(text) if status == BUSY else OrderctlError(text)


@asynccontextmanager
async def connect(url: str, token: str | None = None) -> AsyncIterator[DeadLetterClient]:
    """A client for as long as the block runs; the operator's own token goes before `token`."""
    chosen = _DashboardAccess().token
    token = chosen.get_secret_value() if chosen else token
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    timeout = aiohttp.ClientTimeout(total=None, connect=5.0, sock_read=SILENCE_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        yield DeadLetterClient(session, url)
