"""How a synchronous command asks the gateway: one session, one event loop, readable errors."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from orderctl.gateway_client import GatewayClient, connect, gateway_url

Result = TypeVar("Result")


def ask(
    url: str | None, data_dir: Path | None, question: Callable[[GatewayClient], Awaitable[Result]]
) -> Result:
    """Run one conversation with the gateway; raises OrderctlError when it refuses or does not answer."""
    address = gateway_url(url, data_dir)

    async def conversation() -> Result:
        async with connect(address) as client:
            return await question(client)

    return asyncio.run(conversation())
