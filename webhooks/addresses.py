"""Where webhooks may go: to public addresses, over https, and nowhere inside.

A name may resolve to anything, and to something else a moment later. So the address is checked of the socket
that is about to be connected, and no name is looked up in between.
"""

import errno
import ipaddress
import socket
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

LONGEST_URL: Final = 2_000
USUAL_PORTS: Final = frozenset({80, 443})
FIRST_UNPRIVILEGED_PORT: Final = 1_024
_NOT_PUBLIC: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            *("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96"),
            *("192.0.0.0/24", "192.88.99.0/24", "3fff::/20", "168.63.129.16/32"),
        ),
    )
)
"""What Python counts as public, in some versions at least: networks whose gateways lead to an IPv4 address,
networks for protocols or documents alone, and the address at which Azure's hosts answer each machine on them.
"""

SocketFactory = Callable[[tuple[int, int, int, str, tuple[Any, ...]]], socket.socket]


class ForbiddenAddress(OSError):
    """Raised instead of a connection to an address that is not public."""


def is_public(text: str) -> bool:
    """Whether an IP address is one of the public internet, of a single host."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address.is_site_local:
            return False
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def guarded_sockets(is_allowed: Callable[[str], bool]) -> SocketFactory:
    """Makes sockets for allowed addresses alone. What it makes raises ForbiddenAddress."""

    def make(info: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
        family, kind, protocol, _, address = info
        if not is_allowed(str(address[0])):
            raise ForbiddenAddress(errno.EACCES, "the receiver's address is not public")
        return socket.socket(family, kind, protocol)

    return make


def checked_receiver_url(url: str, *, is_private_allowed: bool) -> str:
    """The URL of a receiver. Raises ValueError with what is wrong with it, without quoting it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("must be a URL with a host and a port from 1 to 65535") from None
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        raise ValueError(f"must have at most {LONGEST_URL} characters of ASCII, without blanks")
    if parts.scheme != "https" and not (is_private_allowed and parts.scheme == "http"):
        raise ValueError("must begin with https://")
    if not host:
        raise ValueError("must name a host")
    if "@" in parts.netloc:
        raise ValueError("must not hold a login: the signature says who sends")
    if parts.fragment:
        raise ValueError("must have no fragment")
    if is_private_allowed:
        return url
    if port is not None and port not in USUAL_PORTS and port < FIRST_UNPRIVILEGED_PORT:
        raise ValueError("must have port 443, 80, or one from 1024 on")
    if _is_address(host) and not is_public(host):
        raise ValueError("must not be a private, loopback or other special address")
    return url


def _is_address(host: str) -> bool:
    """Whether it is no name; systems take ``127.1`` and ``0x7f000001`` for addresses too."""
    return ":" in host or host.rpartition(".")[2][:1].isdigit()
