"""The catalogue's settings: variables that begin with ``CATALOGUE_``."""

from shared.service.api import GuardedApiSettings, TellingSettings
from shared.settings import Count, Port, Seconds, settings_config


class CatalogueSettings(GuardedApiSettings, TellingSettings):
    """Where the catalogue listens, how long it keeps what it has read, and its bounds."""

    model_config = settings_config("CATALOGUE_")

    port: Port = 8102
    ops_port: Port = 9104
    max_concurrent_requests: Count = 512
    product_cache_seconds: Seconds = 300.0
    list_cache_seconds: Seconds = 60.0
    store_timeout_seconds: Seconds = 0.5
    cache_timeout_seconds: Seconds = 0.25
