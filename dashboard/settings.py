"""The dashboard's settings: variables that begin with ``DASHBOARD_``."""

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from shared.settings import Count, Port, Seconds, settings_config


class DashboardSettings(BaseSettings):
    """Where the dashboard listens, how often it asks the brokers, and its deadlines.

    Dead letters are shown, redriven and dropped to whoever has the ``token``; without one, on loopback only.
    ``notice`` is a sentence that the page shows before anything else.
    """

    model_config = settings_config("DASHBOARD_")

    host: str = "127.0.0.1"
    port: Port = 8081
    token: SecretStr | None = None
    notice: str = ""
    store_timeout_seconds: Seconds = 1.0
    publish_timeout_seconds: Seconds = 2.0
    broker_timeout_seconds: Seconds = 1.5
    broker_poll_seconds: Seconds = 2.0
    refresh_seconds: Count = 3
