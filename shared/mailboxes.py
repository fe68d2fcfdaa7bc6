"""Addresses that mail can be sent to. Imports nothing that can wait.

Gateway and notifier judge by it alike: an order whose letter could never be sent is refused when it is
placed, instead of becoming a dead letter. Only the form that needs no quoting is taken, so that nothing in an
address can be read as a display name, a comment, a second recipient or a parameter.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

import idna

ENCODED_WORD: Final = "=?"
"""Made of characters that an address may have, but mail programs read on as an encoding (RFC 2047)."""
MAX_LOCAL_OCTETS: Final = 64
MAX_DOMAIN_CHARACTERS: Final = 253

_LOCAL: Final = re.compile(r"[^.\s\"(),:;<>@\[\\\]]+(\.[^.\s\"(),:;<>@\[\\\]]+)*")
_DOMAIN: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
_NAMED: Final = re.compile(r"\"?(?P<name>[^<>\"]*)\"?\s*<(?P<address>[^<>]*)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailbox:
    """One address, its domain in ASCII (``xn--…`` where it was not), with the name to show beside it."""

    local: str
    domain: str
    name: str = ""

    @property
    def address(self) -> str:
        """``local@domain``."""
        return f"{self.local}@{self.domain}"

    @property
    def needs_utf8(self) -> bool:
        """Whether only servers with SMTPUTF8 (RFC 6531) can deliver to it."""
        return not self.local.isascii()


def mailbox(address: str) -> Mailbox:
    """Reads ``local@domain``. Raises ValueError, whose text names the address."""
    local, _, domain = address.rpartition("@")
    safe = local.isprintable() and _LOCAL.fullmatch(local) and ENCODED_WORD not in local
    if not safe or len(local.encode()) > MAX_LOCAL_OCTETS:
        raise ValueError(f"{address!r} is not an address that mail can be sent to")
    return Mailbox(local=local, domain=_ascii_domain(domain, address))


def named_mailbox(text: str) -> Mailbox:
    """Reads ``local@domain`` or ``Name <local@domain>``. Raises ValueError."""
    named = _NAMED.fullmatch(text.strip())
    if named is None:
        return mailbox(text.strip())
    bare, name = mailbox(named["address"]), named["name"].strip()
    if not name.isprintable():
        raise ValueError(f"{text!r} has a name that no mail can show")
    return Mailbox(local=bare.local, domain=bare.domain, name=name)


def _ascii_domain(domain: str, address: str) -> str:
    """By IDNA 2008, and only where the way back leads to what was written, so that no other domain is meant.

    The codec ``idna`` of Python is of 2003: it makes ``strasse.de`` of ``straße.de``, a stranger's.
    """
    try:
        ascii_domain = _encoded(domain) if not domain.isascii() or "xn--" in domain.lower() else domain
    except UnicodeError as error:
        raise ValueError(f"{address!r} has no domain that mail can be sent to") from error
    if len(ascii_domain) > MAX_DOMAIN_CHARACTERS or not _DOMAIN.fullmatch(ascii_domain):
        raise ValueError(f"{address!r} has no domain that mail can be sent to")
    return ascii_domain


def _encoded(domain: str) -> str:
    encoded = idna.encode(domain, uts46=True).decode("ascii")
    written = domain if domain.isascii() else unicodedata.normalize("NFC", domain)
    if written.lower() != (encoded if domain.isascii() else idna.decode(encoded)):
        raise idna.IDNAError(f"{domain!r} would be read as {encoded}")
    return encoded
