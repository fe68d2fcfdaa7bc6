"""How a synchronous command asks the gateway: one session, one event loop, readable errors."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from orderctl.gateway_client import GatewayClient, by_hand, gateway_url

Result = TypeVar("Result")


def ask(
    url: str | None, data_dir: Path | None, question: Callable[[GatewayClient], Coroutine[Any, Any, Result]]
) -> Result:
    """Run one conversation with the gateway; raises OrderctlError when it refuses or does not answer."""
    return asyncio.run(question(by_hand(gateway_url(url, data_dir))))
