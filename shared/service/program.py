"""A service as a value: its name, its settings and what runs it, so that one description starts it anywhere.

``python -m NAME`` starts it on the real infrastructure; embedded mode and tests run the same value on theirs.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Generic, TypeVar

from pydantic_settings import BaseSettings

from shared import tls
from shared.service.infrastructure import ClusterInfrastructure, Infrastructure
from shared.service.lifecycle import run_service, traced
from shared.settings import CommonSettings, load

Own = TypeVar("Own", bound=BaseSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program(Generic[Own]):
    """``run`` serves until the event is set, then finishes what was begun and returns."""

    name: str
    settings: type[Own]
    run: Callable[[CommonSettings, Own, Infrastructure, asyncio.Event], Coroutine[Any, Any, None]]

    def main(self) -> None:
        """Reads the settings and runs the service as this process, on the cluster that they name."""
        common, own = load(CommonSettings), load(self.settings)
        tls.client_context()  # a file that cannot be used is named before anything is asked
        infrastructure = ClusterInfrastructure(common)
        run_service(self.name, common, lambda stop: self.serve(common, own, infrastructure, stop))

    async def serve(
        self, common: CommonSettings, own: Own, infrastructure: Infrastructure, stop: asyncio.Event
    ) -> None:
        """Runs it, with its spans sent where the settings say."""
        async with traced(self.name, common):
            await self.run(common, own, infrastructure, stop)


def program_of(name: str) -> Program[Any]:
    """The ``PROGRAM`` that the service's package has in its ``main`` module."""
    program: Program[Any] = import_module(f"{name}.main").PROGRAM
    return program
