"""The settings of webhooks: variables that begin with ``WEBHOOKS_``."""

from typing import Final, Self

from pydantic import model_validator

from shared.service.api import GuardedApiSettings
from shared.settings import Count, Port, Seconds, settings_config

SHORTEST_RETENTION_SECONDS: Final = 7 * 86_400
"""An event that came again after its row was swept would be told again."""


class WebhooksSettings(GuardedApiSettings):
    """Where webhooks listens, how it sends, and its bounds.

    ``allow_private`` lets receivers be on this machine or in a private network, without TLS: for development.
    """

    model_config = settings_config("WEBHOOKS_")

    port: Port = 8104
    ops_port: Port = 9106
    max_concurrent_requests: Count = 512
    allow_private: bool = False
    endpoints_per_owner: Count = 20
    attempt_timeout_seconds: Seconds = 10.0
    lease_seconds: Seconds = 60.0
    sends_at_once: Count = 64
    sends_per_endpoint: Count = 4
    secret_grace_seconds: Seconds = 86_400.0
    retention_seconds: Seconds = 30 * 86_400.0

    @model_validator(mode="after")
    def _waits_fit_together(self) -> Self:
        if self.retention_seconds < SHORTEST_RETENTION_SECONDS:
            raise ValueError("WEBHOOKS_RETENTION_SECONDS must be a week at least: what is told is told once")
        if self.lease_seconds < 2 * self.attempt_timeout_seconds:
            raise ValueError("WEBHOOKS_LEASE_SECONDS must be at least twice WEBHOOKS_ATTEMPT_TIMEOUT_SECONDS")
        return self
