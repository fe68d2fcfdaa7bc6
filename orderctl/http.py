"""One request over HTTP, by blocking: all that a command needs which asks one thing, and quick to import."""

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from orderctl.errors import OrderctlError
from shared.urls import checked_http_url

CONNECT_SECONDS = 5.0


def checked_url(url: str, named: str) -> str:
    """The base of an API; raises OrderctlError, by the name of the option or variable, for what is none."""
    try:
        return checked_http_url(url).rstrip("/")
    except ValueError as error:
        raise OrderctlError(f"{named}: {error}") from error


def in_words(status: int, problem: Mapping[str, Any], detail: str = "") -> str:
    """What an API refused, and why, in one line."""
    title, detail = problem.get("title") or f"HTTP {status}", detail or problem.get("detail") or ""
    return f"{title}: {detail}" if detail else str(title)


@contextmanager
def request(
    url: str,
    method: str,
    path: str,
    *,
    seconds: float,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """The answer, for as long as the block runs; `seconds` bound each silence. Raises OSError without one."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=min(seconds, CONNECT_SECONDS))
    try:
        connection.connect()
        connection.sock.settimeout(seconds)
        connection.request(method, parts.path + path, body=body, headers=dict(headers or {}))
        yield connection.getresponse()
    except http.client.HTTPException as error:
        raise OSError(f"its answer cannot be read ({type(error).__name__})") from error
    finally:
        connection.close()
