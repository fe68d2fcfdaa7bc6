"""The gateway's settings: variables that begin with ``GATEWAY_``."""

from enum import StrEnum

from shared.http.settings import AuthSettings, OperationsSettings
from shared.settings import Count, Port, Seconds, settings_config


class UnknownProductsRule(StrEnum):
    """What becomes of an order for a SKU that has no product."""

    ACCEPT = "accept"
    REFUSE = "refuse"


class GatewaySettings(AuthSettings, OperationsSettings):
    """Where the gateway listens, and its bounds."""

    model_config = settings_config("GATEWAY_")

    port: Port = 8080
    ops_port: Port = 9100
    claim_ttl_seconds: Count = 86_400
    outbox_limit: Count = 100_000
    max_concurrent_requests: Count = 512
    max_skus: Count = 100_000
    unknown_products: UnknownProductsRule = UnknownProductsRule.ACCEPT
    publish_timeout_seconds: Seconds = 2.0
    store_timeout_seconds: Seconds = 1.0
    drain_seconds: Seconds = 20.0
