"""Whose request it is: the address of the connection, or the one that a trusted proxy names.

An IPv6 client owns a /64 and can take any address in it, so it counts as one client by its prefix.
"""

import ipaddress
from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web

UNKNOWN: Final = "unknown"
CLIENT: Final = web.RequestKey("client", str)
"""Set by the server where a trusted proxy names the client."""


def address_of(peer: Any) -> str:
    """The client behind a socket's peer name."""
    return _client(str(peer[0])) if isinstance(peer, tuple) and peer else UNKNOWN


def client_of(request: web.BaseRequest) -> str:
    """The client that sent a request."""
    return request.get(CLIENT) or peer_of(request)


def peer_of(request: web.BaseRequest) -> str:
    """The address of the connection, whatever a proxy says of the client behind it."""
    return str(getattr(request.protocol, "address", UNKNOWN))


def is_secure(request: web.BaseRequest) -> bool:
    """Whether the client came over TLS, as a trusted proxy says; what others say of it counts for nothing."""
    if not getattr(request.protocol, "is_proxied", False):
        return False
    said = ",".join(request.headers.getall("X-Forwarded-Proto", ()))
    return said.rpartition(",")[2].strip().lower() == "https"


class TrustedProxies:
    """The addresses whose ``X-Forwarded-For`` counts. ``networks`` are addresses or networks."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)

    def __contains__(self, address: str) -> bool:
        if not self._networks or address == UNKNOWN:
            return False
        found = ipaddress.ip_network(address)
        return any(found.version == each.version and found.overlaps(each) for each in self._networks)

    def client(self, forwarded: Iterable[str], peer: str = UNKNOWN) -> str:
        """The last address in ``X-Forwarded-For`` that is no proxy's: clients can make up those before it.

        Where all of them are, the first asked by itself; where there is none, the ``peer`` did.
        """
        hops = [_client(hop.strip()) for value in forwarded for hop in value.split(",")]
        return next((hop for hop in reversed(hops) if hop not in self), hops[0] if hops else peer)


def _client(text: str) -> str:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address) if address.is_loopback else str(ipaddress.ip_network((address, 64), strict=False))
