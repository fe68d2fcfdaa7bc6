"""Ports for tests: free ones on loopback."""

from collections.abc import Mapping, Sequence

from shared.http.clients import TrustedProxies
from shared.http.cors import CrossOrigins
from shared.http.hosts import AllowedHosts
from shared.http.limits import HttpLimits
from shared.http.server import Endpoint


def an_endpoint(
    *,
    limits: HttpLimits | None = None,
    allowed_hosts: Sequence[str] = (),
    trusted_proxies: Sequence[str] = (),
    origins: CrossOrigins | None = None,
    headers: Mapping[str, str] | None = None,
    drain_seconds: float = 1.0,
) -> Endpoint:
    """A free port on loopback."""
    return Endpoint(
        host="127.0.0.1",
        port=0,
        limits=limits or HttpLimits(),
        hosts=AllowedHosts("127.0.0.1", allowed_hosts),
        proxies=TrustedProxies(trusted_proxies),
        origins=origins or CrossOrigins(),
        headers=headers or {},
        drain_seconds=drain_seconds,
    )
