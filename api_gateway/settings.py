"""The gateway's settings: variables that begin with ``GATEWAY_``."""

from enum import StrEnum
from typing import Any, Final

from shared.http.auth import AuthMode
from shared.http.cors import CrossOrigins
from shared.http.limits import HttpLimits
from shared.http.rates import Rate, requests_per_second
from shared.http.server import Endpoint
from shared.http.settings import AuthSettings, BrowserUrl, OperationsSettings, Origins, ServiceUrl
from shared.settings import Count, Port, Seconds, settings_config

REQUESTS_PER_SECOND: Final = 50
"""Of one client, where a token is required."""


class UnknownProductsRule(StrEnum):
    """What becomes of an order for a SKU that has no product."""

    ACCEPT = "accept"
    REFUSE = "refuse"


class GatewaySettings(AuthSettings, OperationsSettings):
    """Where the gateway listens, and its bounds. ``dashboard_url`` is where browsers find the dashboard."""

    model_config = settings_config("GATEWAY_")

    port: Port = 8080
    ops_port: Port = 9100
    catalogue_url: ServiceUrl = "http://127.0.0.1:8102"
    ledger_url: ServiceUrl = "http://127.0.0.1:8103"
    webhooks_url: ServiceUrl = "http://127.0.0.1:8104"
    dashboard_url: BrowserUrl | None = None
    requests_per_second: Count | None = None
    cors_origins: Origins = ()
    claim_ttl_seconds: Count = 86_400
    outbox_limit: Count = 100_000
    max_concurrent_requests: Count = 512
    max_streams: Count = 1_000
    max_skus: Count = 100_000
    unknown_products: UnknownProductsRule = UnknownProductsRule.ACCEPT
    publish_timeout_seconds: Seconds = 2.0
    store_timeout_seconds: Seconds = 1.0
    drain_seconds: Seconds = 20.0

    def endpoint(self, limits: HttpLimits, **further: Any) -> Endpoint:
        """The port, within ``limits``; ``further`` is what else an Endpoint takes."""
        return super().endpoint(limits, origins=CrossOrigins(self.cors_origins), **further)

    def rate(self) -> Rate | None:
        """How often a client may ask: as is set, or 50 times a second where a token is required."""
        usual = REQUESTS_PER_SECOND if self.auth_mode is AuthMode.REQUIRED else None
        per_second = self.requests_per_second or usual
        return None if per_second is None else requests_per_second(per_second)
