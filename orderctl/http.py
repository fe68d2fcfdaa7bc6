"""One request over HTTP, by blocking: all that a command needs which asks one thing, and quick to import."""

import http.client
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import orjson

from orderctl.errors import OrderctlError
from shared import tls
from shared.urls import checked_http_url

CONNECT_SECONDS = 5.0


def elsewhere(option: str | None, variable: str) -> str | None:
    """The API that `--url` or the variable names in the place of this machine's; raises OrderctlError."""
    for named, chosen in (("--url", option), (variable, os.environ.get(variable))):
        if chosen:
            try:
                return checked_http_url(chosen).rstrip("/")
            except ValueError as error:
                raise OrderctlError(f"{named}: {error}") from error
    return None


def bearer(token: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def object_in(content: bytes) -> Mapping[str, Any]:
    """The JSON object that an API answered; an empty one where it is none."""
    try:
        parsed = orjson.loads(content)
    except orjson.JSONDecodeError:
        parsed = None
    return parsed if isinstance(parsed, dict) else {}


def in_words(status: int, problem: Mapping[str, Any]) -> str:
    """What an API refused, and why, in one line; each field at fault by its name."""
    faults = (f"{each.get('field')}: {each.get('message')}" for each in problem.get("errors", ()))
    title, detail = problem.get("title") or f"HTTP {status}", "; ".join(faults) or problem.get("detail")
    return f"{title}: {detail}" if detail else str(title)


def unanswered(url: str, error: OSError) -> str:
    """That nothing answers there, and why."""
    return f"{url} does not answer: {tls.fault_of(error) or str(error) or type(error).__name__}"


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
    connection = tls.http_connection(url, min(seconds, CONNECT_SECONDS))
    try:
        connection.connect()
        connection.sock.settimeout(seconds)
        connection.request(method, parts.path + path, body=body, headers=dict(headers or {}))
        yield connection.getresponse()
    except http.client.HTTPException as error:
        raise OSError(f"its answer cannot be read ({type(error).__name__})") from error
    finally:
        connection.close()
