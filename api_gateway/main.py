"""Builds the gateway from its adapters and runs it until it is told to stop."""

import asyncio

from api_gateway.settings import GatewaySettings
from shared.infrastructure import Infrastructure
from shared.logs import get_logger
from shared.settings import CommonSettings

NAME = "api_gateway"
STORE_CONNECTIONS = 64
STARTUP_POLL_SECONDS = 0.2
RELAY_AGE_IN_PUBLISH_DEADLINES = 2

log = get_logger(__name__)


async def run(
    common: CommonSettings, own: GatewaySettings, infrastructure: Infrastructure, stop: asyncio.Event
) -> None:
    """Takes orders until ``stop`` is set, then finishes the requests that were begun."""
