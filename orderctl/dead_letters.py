"""The dead letters over the dashboard's HTTP API, which is the same in every mode of running the pipeline.

Everything that is asked here may be asked again: looking changes nothing, and an action has its effect at
most once. So a dashboard that is busy is asked a few times before the operator is bothered.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson

from orderctl.environment import operator_settings
from orderctl.errors import OrderctlError
from orderctl.http import bearer, elsewhere, in_words, object_in, request, unanswered
from orderctl.modes import current_system

URL_VARIABLE: Final = "ORDERCTL_DASHBOARD_URL"
TOKEN_VARIABLE: Final = "DASHBOARD_TOKEN"  # noqa: S105 - the name of a variable
LINES: Final = "application/x-ndjson"
MOST_ATTEMPTS: Final = 5
BUSY: Final = 503
BUSY_PAUSE_SECONDS: Final = 1.0
SILENCE_SECONDS: Final = 60.0
"""How long the dashboard may say nothing; a long action says something about every batch of letters."""

OnLine = Callable[[Mapping[str, Any]], None]


class _Busy(Exception):
    """Raised when the dashboard asks to come again."""


def dead_letters(url: str | None, data_dir: Path | None) -> "DeadLetterClient":
    """The dashboard of the option, else of `ORDERCTL_DASHBOARD_URL`, else of this machine's own system.

    The operator's token goes before what the own system made up; a stranger gets none but the operator's.
    """
    token = operator_settings().get(TOKEN_VARIABLE)
    if chosen := elsewhere(url, URL_VARIABLE):
        return DeadLetterClient(chosen, token)
    system = current_system(data_dir)
    return DeadLetterClient(system.url("dashboard"), token or system.dashboard_token())


class DeadLetterClient:
    """Asks one dashboard. Every method raises OrderctlError."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self._url = url
        self._headers = bearer(token) if token else {}

    def find(self, query: Mapping[str, Any]) -> Mapping[str, Any]:
        """The letters that the query means, and how many lie where."""
        return self._ask("GET", f"/dead?{urlencode(query)}")

    def show(self, letter_id: str) -> Mapping[str, Any]:
        """One letter, by its id or its order's."""
        return self._ask("GET", f"/dead/{quote(letter_id, safe=':')}")

    def audit(self, limit: int) -> Mapping[str, Any]:
        """What was done to letters, the newest first."""
        return self._ask("GET", f"/dead-audit?limit={limit}")

    def act(
        self, action: str, body: Mapping[str, Any], on_line: OnLine = lambda _: None
    ) -> Mapping[str, Any]:
        """Redrives or drops; `on_line` is told how it goes on. Returns the sum of it."""
        summary = self._ask("POST", f"/dead/{action}", orjson.dumps(body), on_line).get("summary")
        if not isinstance(summary, dict):
            raise OrderctlError(f"{self._url} broke off; ask again: what was done is not done twice")
        return summary

    def events(self, last_id: str = "") -> Iterator[Mapping[str, Any]]:
        """What happens, from now on or behind what was seen last, until the connection ends.

        The first event is `begin`. Raises OrderctlError where it is refused, OSError where nothing answers.
        """
        headers = self._headers | ({"Last-Event-ID": last_id} if last_id else {})
        with request(self._url, "GET", "/events", headers=headers, seconds=SILENCE_SECONDS) as answer:
            if answer.status == BUSY:
                raise OSError(in_words(answer.status, object_in(answer.read())))
            if answer.status != 200:
                raise _failure(answer.status, answer.read())
            told: dict[str, Any] = {}
            for line in answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name in {"event", "id"}:
                    told[name] = value
                elif name == "data":
                    told[name] = object_in(value.encode())
                elif not name and "data" in told:
                    yield told
                    told = {}

    def silence(self, error: OSError) -> OrderctlError:
        """The error for a dashboard that does not answer."""
        return OrderctlError(unanswered(self._url, error), advice="orderctl status")

    def _ask(
        self, method: str, path: str, body: bytes | None = None, on_line: OnLine = lambda _: None
    ) -> Mapping[str, Any]:
        for attempt in range(1, MOST_ATTEMPTS + 1):
            try:
                return self._once(method, path, body, on_line)
            except _Busy as error:
                if attempt == MOST_ATTEMPTS:
                    raise OrderctlError(str(error)) from error
                time.sleep(BUSY_PAUSE_SECONDS)
            except OSError as error:
                raise self.silence(error) from error
        raise AssertionError("the last attempt returns or raises")

    def _once(self, method: str, path: str, body: bytes | None, on_line: OnLine) -> Mapping[str, Any]:
        """The answer, the last line of it where it comes in lines."""
        headers = self._headers | ({"Accept": LINES, "Content-Type": "application/json"} if body else {})
        with request(self._url, method, path, body=body, headers=headers, seconds=SILENCE_SECONDS) as answer:
            if answer.status != 200:
                raise _failure(answer.status, answer.read())
            if answer.headers.get_content_type() != LINES:
                return _object(answer.read())
            last: Mapping[str, Any] = {}
            for line in answer:
                last = _object(line)
                on_line(last)
            return last


def _object(content: bytes) -> Mapping[str, Any]:
    parsed = object_in(content)
    if not parsed:
        raise OrderctlError("what answers is no dashboard of this pipeline: its answer is no JSON object")
    return parsed


def _failure(status: int, content: bytes) -> Exception:
    text = in_words(status, object_in(content))
    return _Busy(text) if status == BUSY else OrderctlError(text)
