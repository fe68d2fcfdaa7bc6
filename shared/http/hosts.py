"""Under which names a port answers.

A web page can let its own name point to 127.0.0.1 and then speak to this machine as if it were of the same
origin (DNS rebinding). The name that it was asked for stands in ``Host``, so foreign names are refused.
"""

import ipaddress
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from shared.urls import is_loopback

MOST_REMEMBERED: Final = 64
ANY: Final = "*"


class AllowedHosts:
    """Answers whether a ``Host`` header names this service.

    Loopback names always do. With ``names``, those do as well; without, every name does where ``bound_to`` is
    not loopback. There every address does too, because only a name can be made to point elsewhere.
    """

    def __init__(self, bound_to: str, names: Sequence[str] = ()) -> None:
        self._is_local = is_loopback(bound_to)
        self._takes_any = ANY in names or (not names and not self._is_local)
        self._names = frozenset(name.lower() for name in (*names, bound_to))
        self.known: set[str] = set()
        """Some headers that do, as they came."""

    def __contains__(self, host: str) -> bool:
        if host in self.known:
            return True
        if not self._takes_any and not self._is_taken(_name(host)):
            return False
        if len(self.known) < MOST_REMEMBERED:
            self.known.add(host)
        return True

    def _is_taken(self, name: str) -> bool:
        if name in self._names or is_loopback(name) or name.endswith(".localhost"):
            return True
        return not self._is_local and _is_address(name)


def _name(host: str) -> str:
    """Without the port, in lower case; nothing where it is no host at all."""
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname or "") if parts.netloc == host and parts.username is None else ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
