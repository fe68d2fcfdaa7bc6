"""Keeps asking every service whether it can do its work, replica by replica."""

import asyncio
import errno
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp
from yarl import URL

from dashboard.overview.state import ServiceState
from shared.health import PROCESS_HEADER, Check, Health
from shared.logs import get_logger

LONGEST_REPORT_BYTES: Final = 4_096
LONGEST_REASON: Final = 300

log = get_logger(__name__)


class _Silent(Exception):
    """Raised when nothing answers at an address; the text says why."""


class ServiceWatch:
    """Remembers what each service's ``/readyz`` said last; ``own`` is the service that asks, by its name.

    A name that leads to several addresses stands for as many replicas.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        urls: Mapping[str, str],
        *,
        own: tuple[str, Health],
        cache_fault: Check = lambda: None,
        timeout_seconds: float,
        pause_seconds: float,
    ) -> None:
        self._session = session
        self._own, self._health = own
        self._urls = {name: URL(url) for name, url in urls.items() if name != self._own}
        self.cache_fault = cache_fault
        self._timeout_seconds = timeout_seconds
        self._pause_seconds = pause_seconds
        self._known = {name: ServiceState(name=name) for name in self._urls}

    def states(self) -> Sequence[ServiceState]:
        """What was seen last; of the service that asks, what is so now."""
        faults = self._health.failures()
        own = ServiceState(name=self._own, replicas=1, ready=0 if faults else 1, faults=faults)
        return [*self._known.values(), own]

    async def run(self) -> None:
        """Asks again and again, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(self._pause_seconds)

    async def look(self) -> None:
        """One round."""
        for state in await asyncio.gather(*(self._ask(name, url) for name, url in self._urls.items())):
            if self._known[state.name].is_ready != state.is_ready:
                log.info("service", service=state.name, ready=state.is_ready, faults=dict(state.faults))
            self._known[state.name] = state

    async def _ask(self, name: str, url: URL) -> ServiceState:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        except OSError:
            return ServiceState(name=name, silence=f"nothing has the name {url.host}")
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        answers = await asyncio.gather(
            *(self._readiness(url, address) for address in addresses), return_exceptions=True
        )
        told = [answer for answer in answers if isinstance(answer, dict)]
        if not told:
            return ServiceState(name=name, silence=str(answers[0]))
        faults = {dependency: reason for answer in told for dependency, reason in answer.items()}
        return ServiceState(
            name=name, replicas=len(told), ready=sum(not answer for answer in told), faults=faults
        )

    async def _readiness(self, url: URL, address: str) -> dict[str, str]:
        """The reasons of one replica, none where it is ready. Raises _Silent."""
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._session.get(
                    url.with_host(address).with_path("/readyz"),
                    headers={"Host": f"{url.host}:{url.port}"},
                    allow_redirects=False,
                ) as response,
            ):
                said = (await response.content.read(LONGEST_REPORT_BYTES)).decode("utf-8", "replace")
        except TimeoutError:
            return {"service": f"no answer within {self._timeout_seconds:g} s"}
        except aiohttp.ClientConnectorError as error:
            raise _Silent(os.strerror(error.os_error.errno or errno.ECONNREFUSED).lower()) from error
        except aiohttp.ClientError as error:
            raise _Silent(f"no answer ({type(error).__name__})") from error
        if response.status == 421:
            return {
                "service": f"it does not answer to the name {url.host}: its ..._ALLOWED_HOSTS must have it"
            }
        if PROCESS_HEADER not in response.headers:
            raise _Silent("another program answers on its port")
        if response.status == 200:
            return {}
        lines = (line.partition(": ") for line in said.splitlines())
        return {name: reason[:LONGEST_REASON] for name, _, reason in lines if reason} or {
            "service": f"it answered {response.status}"
        }
