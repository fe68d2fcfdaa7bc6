"""The dashboard's settings: variables that begin with ``DASHBOARD_``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from shared.http.settings import BrowserUrl, ClientPortSettings, ServiceUrl
from shared.services import SERVICES
from shared.settings import Count, Port, Seconds, settings_config


class DashboardSettings(ClientPortSettings):
    """Where the dashboard listens, how often it asks the brokers, and its deadlines.

    Orders and dead letters are open to whoever has the ``token``, and to operators, as accounts at
    ``accounts_url`` knows them; without a ``token``, to those on loopback too.
    ``notice`` is a sentence that the page shows before anything else; ``data_dir`` is where stores and
    brokers of this machine have their data, for its disks to be looked at. ``service_urls`` say where each
    service has its ``/readyz``, ``gateway_url`` where browsers find the gateway.
    """

    model_config = settings_config("DASHBOARD_")

    port: Port = 8081
    token: Annotated[SecretStr, Field(min_length=16)] | None = None
    accounts_url: ServiceUrl = "http://127.0.0.1:8101"
    gateway_url: BrowserUrl | None = None
    notice: str = ""
    data_dir: Path | None = None
    store_timeout_seconds: Seconds = 1.0
    publish_timeout_seconds: Seconds = 2.0
    service_urls: Annotated[Mapping[str, str], NoDecode] = {
        service.name: f"http://127.0.0.1:{service.operations_port}" for service in SERVICES.values()
    }
    service_timeout_seconds: Seconds = 1.5
    broker_timeout_seconds: Seconds = 1.5
    broker_poll_seconds: Seconds = 2.0
    refresh_seconds: Count = 3
    max_streams: Count = 2_048

    @field_validator("service_urls", mode="before")
    @classmethod
    def _named_urls(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        named = dict(part.strip().partition("=")[::2] for part in value.split(",") if part.strip())
        for name, url in named.items():
            if not name or urlsplit(url).scheme != "http" or not urlsplit(url).hostname:
                raise ValueError("write NAME=http://HOST:PORT, separated by commas")
        return named
