"""The catalogue's settings: variables that begin with ``CATALOGUE_``."""

from pydantic_settings import BaseSettings

from shared.http.auth import AuthMode
from shared.http.settings import AuthSettings
from shared.service.api import ApiSettings
from shared.settings import Count, Port, Seconds, settings_config


class GatewayDoor(BaseSettings):
    """What the gateway asks of its clients."""

    model_config = settings_config("GATEWAY_")

    auth: AuthMode | None = None


class CatalogueSettings(ApiSettings, AuthSettings):
    """Where the catalogue listens, how long it keeps what it has read, and its bounds."""

    model_config = settings_config("CATALOGUE_")

    port: Port = 8102
    ops_port: Port = 9104
    max_concurrent_requests: Count = 512
    product_cache_seconds: Seconds = 300.0
    list_cache_seconds: Seconds = 60.0
    store_timeout_seconds: Seconds = 0.5
    cache_timeout_seconds: Seconds = 0.25

    @property
    def auth_mode(self) -> AuthMode:
        """As at the gateway, unless it is told otherwise: who needs a token there could go around it here."""
        return self.auth or GatewayDoor().auth or AuthMode.OPTIONAL
