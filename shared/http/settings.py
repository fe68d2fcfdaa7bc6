"""What every service can be told about its ports for HTTP."""

import re
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BeforeValidator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from shared.http.auth import AuthMode
from shared.http.clients import TrustedProxies
from shared.http.hosts import ANY, AllowedHosts
from shared.http.limits import HttpLimits
from shared.http.server import Endpoint
from shared.settings import Count, Port, Seconds
from shared.urls import checked_browser_url, checked_http_url, is_loopback

_ORIGIN: Final = re.compile(r"https?://[a-z0-9.\[\]:-]{1,253}")
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}")


def _split(value: Any) -> Any:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def _hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    if any(name != ANY and not _HOST.fullmatch(name) for name in names):
        raise ValueError("must be host names without a port, separated by commas, or *")
    return names


def _networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        TrustedProxies(texts)
    except ValueError:
        raise ValueError("must be addresses or networks such as 10.0.0.0/8, separated by commas") from None
    return texts


def _origins(texts: tuple[str, ...]) -> tuple[str, ...]:
    if any(not _ORIGIN.fullmatch(text) for text in texts):
        raise ValueError("must be origins such as https://shop.example.com, separated by commas")
    return texts


HostNames = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_hosts)]
Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_networks)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_origins)]
ServiceUrl = Annotated[str, AfterValidator(checked_http_url)]
"""Where another service is."""
BrowserUrl = Annotated[str, AfterValidator(checked_browser_url)]
"""Where a person's browser finds another service, for links."""


class ClientPortSettings(BaseSettings):
    """A port for clients: under which names it answers, and how much of it one of them may take."""

    host: str = "127.0.0.1"
    port: Port
    allowed_hosts: HostNames = ()
    trusted_proxies: Networks = ()
    max_connections: Count = 2_048
    connections_per_address: Count = 256
    body_timeout_seconds: Seconds = 5.0

    def http_limits(self) -> HttpLimits:
        """What its clients may take."""
        return HttpLimits(
            max_connections=self.max_connections,
            connections_per_address=self.connections_per_address,
            body_timeout_seconds=self.body_timeout_seconds,
        )

    def endpoint(self, limits: HttpLimits, **further: Any) -> Endpoint:
        """The port, within ``limits``; ``further`` is what else an Endpoint takes."""
        return Endpoint(
            host=self.host,
            port=self.port,
            limits=limits,
            hosts=AllowedHosts(self.host, self.allowed_hosts),
            proxies=TrustedProxies(self.trusted_proxies),
            **further,
        )


class AuthSettings(ClientPortSettings):
    """A port that knows its clients by the tokens of accounts, which is at ``accounts_url``."""

    auth: AuthMode | None = None
    accounts_url: ServiceUrl = "http://127.0.0.1:8101"

    @model_validator(mode="after")
    def _decided(self) -> Self:
        prefix = self.model_config.get("env_prefix", "")
        if self.auth is None and not is_loopback(self.host):
            raise ValueError(
                f"{prefix}AUTH must be set where {prefix}HOST is not loopback: required, so that a token is "
                "needed, or optional, where only those reach the port who may do everything"
            )
        return self

    @property
    def auth_mode(self) -> AuthMode:
        """Whether a request needs a token."""
        return self.auth or AuthMode.OPTIONAL


class OperationsSettings(BaseSettings):
    """The port for probes and Prometheus. Its few clients leave the open files to the others."""

    ops_host: str = "127.0.0.1"
    ops_port: Port
    allowed_hosts: HostNames = ()

    def operations_endpoint(self) -> Endpoint:
        """The port."""
        return Endpoint(
            host=self.ops_host,
            port=self.ops_port,
            limits=HttpLimits(max_connections=256, connections_per_address=64),
            hosts=AllowedHosts(self.ops_host, self.allowed_hosts),
        )
