"""Settings that every service reads, and the one way to load settings at all.

Values come from environment variables and ``.env``. A wrong one stops the service at start with one line
that names the variable.
"""

import re
import sys
from typing import Annotated, Final, Literal, NoReturn, TypeVar
from urllib.parse import unquote

from pydantic import Field, FilePath, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared import failpoints
from shared.tracing import Sampler
from shared.urls import checked_broker_url, checked_database_url, checked_http_url, checked_store_url

_HEADER: Final = re.compile(r"\s*[\w!#$%&'*+.^`|~-]+\s*=[\x20-\x7e]*", re.ASCII)
EXIT_WRONG_SETTING = 2
EVENTS_PER_MESSAGE = 64
"""What a message holds at most."""

Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Seconds = Annotated[float, Field(gt=0, le=86_400 * 365)]
UrlList = Annotated[tuple[str, ...], NoDecode]


def settings_config(prefix: str = "") -> SettingsConfigDict:
    """Where a settings class reads from: variables that begin with ``prefix``, then ``.env``."""
    return SettingsConfigDict(
        env_prefix=prefix, env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True
    )


class TracingSettings(BaseSettings):
    """Where spans go and which, by OpenTelemetry's own variables. Without an endpoint nothing is traced."""

    model_config = settings_config()

    otel_exporter_otlp_endpoint: str = ""
    otel_exporter_otlp_traces_endpoint: str = ""
    otel_exporter_otlp_headers: str = ""
    otel_exporter_otlp_certificate: FilePath | None = None
    otel_sdk_disabled: bool = False
    otel_traces_exporter: Literal["otlp", "none"] = "otlp"
    otel_traces_sampler: Sampler = "parentbased_traceidratio"
    otel_traces_sampler_arg: Annotated[float, Field(ge=0, le=1)] = 1.0
    otel_service_name: str = ""
    otel_resource_attributes: str = ""
    otel_bsp_max_queue_size: Count = 2_048
    otel_bsp_max_export_batch_size: Count = 512
    otel_bsp_schedule_delay: Count = 5_000

    @field_validator("otel_exporter_otlp_endpoint", "otel_exporter_otlp_traces_endpoint")
    @classmethod
    def _collector_url(cls, url: str) -> str:
        return checked_http_url(url) if url else url

    @field_validator("otel_exporter_otlp_headers", "otel_resource_attributes")
    @classmethod
    def _pairs(cls, text: str) -> str:
        if not all(_HEADER.fullmatch(pair) for pair in text.split(",") if text):
            raise ValueError("must be name=value, separated by commas, with values as in a URL")
        if not all(value.isascii() and value.isprintable() for value in _pairs_in(text).values()):
            raise ValueError("must have values that are printable ASCII once their escapes are read")
        return text

    @property
    def collector_headers(self) -> dict[str, str]:
        """What every request to the collector carries."""
        return _pairs_in(self.otel_exporter_otlp_headers)

    @property
    def resource_attributes(self) -> dict[str, str]:
        """What is told of a service with its spans."""
        return _pairs_in(self.otel_resource_attributes)

    @property
    def traces_url(self) -> str | None:
        """Where spans are sent, or None where nothing is traced."""
        if self.otel_sdk_disabled or self.otel_traces_exporter == "none":
            return None
        base = self.otel_exporter_otlp_endpoint
        return self.otel_exporter_otlp_traces_endpoint or (base and f"{base.rstrip('/')}/v1/traces") or None


def _pairs_in(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}


class CommonSettings(TracingSettings):
    """Where the broker and the store are, and how to log."""

    model_config = settings_config()

    rabbitmq_urls: UrlList = (
        "amqp://guest:guest@127.0.0.1:5672/",
        "amqp://guest:guest@127.0.0.1:5673/",
        "amqp://guest:guest@127.0.0.1:5674/",
    )
    rabbitmq_management_urls: UrlList = (
        "http://guest:guest@127.0.0.1:15672",
        "http://guest:guest@127.0.0.1:15673",
        "http://guest:guest@127.0.0.1:15674",
    )
    redis_url: str = "redis://127.0.0.1:6379/0"
    cache_url: str = "redis://127.0.0.1:6380/0"
    database_url: str = ""
    order_retention_seconds: Seconds = 30 * 86_400.0
    log_keep: Seconds = 3_600.0
    log_entries: Count = 1_000_000
    payments: Literal["off", "simulated"] = "off"
    events_per_message: Annotated[int, Field(ge=1, le=EVENTS_PER_MESSAGE)] = EVENTS_PER_MESSAGE
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] | None = None
    failpoint: str = ""

    @field_validator("rabbitmq_urls", "rabbitmq_management_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("rabbitmq_urls")
    @classmethod
    def _broker_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        if len(urls) < 2:
            raise ValueError("name two nodes or more, separated by commas")
        return tuple(map(checked_broker_url, urls))

    @field_validator("rabbitmq_management_urls")
    @classmethod
    def _management_urls(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(checked_http_url, urls))

    @field_validator("failpoint")
    @classmethod
    def _failpoint(cls, spec: str) -> str:
        failpoints.check(spec)
        return spec

    @field_validator("redis_url", "cache_url")
    @classmethod
    def _store_url(cls, url: str) -> str:
        return checked_store_url(url)

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, url: str) -> str:
        return checked_database_url(url) if url else url


class TlsSettings(BaseSettings):
    """Whom connections with TLS trust, and who we are there: PEM files, see ``shared.tls``."""

    model_config = settings_config("TLS_")

    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""


AnySettings = TypeVar("AnySettings", bound=BaseSettings)


def load(settings: type[AnySettings]) -> AnySettings:
    """Reads the settings, or ends the process with status 2 and one line per wrong variable.

    What is wrong between several of them says so in its own words.
    """
    try:
        return settings()
    except ValidationError as error:
        _refuse(settings, error)
    except (OSError, UnicodeDecodeError) as error:
        print(f".env cannot be read: {error}", file=sys.stderr)
        sys.exit(EXIT_WRONG_SETTING)


def refuse_setting(text: str) -> NoReturn:
    """Ends the process with status 2 and one line that names the variable."""
    print(text, file=sys.stderr)
    sys.exit(EXIT_WRONG_SETTING)


def _refuse(settings: type[BaseSettings], error: ValidationError) -> NoReturn:
    prefix = settings.model_config.get("env_prefix", "")
    for fault in error.errors(include_url=False, include_input=False):
        text = fault["msg"].removeprefix("Value error, ")
        names = [f"{prefix}{part}".upper() for part in fault["loc"][:1]]
        print(": ".join([*names, text]), file=sys.stderr)
    sys.exit(EXIT_WRONG_SETTING)
