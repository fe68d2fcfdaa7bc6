"""Builds the gateway from its adapters and runs it until it is told to stop."""

import asyncio
import random

from api_gateway.breaker import Breaker
from api_gateway.durability import DurabilityWatch
from api_gateway.intake import OrderIntake
from api_gateway.orders import RedisOrderStore, RedisOutbox
from api_gateway.relay import OutboxRemovals, Relay, RelayTimes
from api_gateway.settings import GatewaySettings
from shared import keyspace
from shared.errors import StoreUnavailable
from shared.health import Health
from shared.infrastructure import Infrastructure, SupervisedPublisher
from shared.lifecycle import running
from shared.logs import get_logger
from shared.metrics import new_registry
from shared.operations import serve_operations
from shared.redis.client import Redis, store_deadline
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
