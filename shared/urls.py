"""URLs as settings and options take them: only those that every client reads as they are meant."""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

REDIS_DATABASES = 16
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")
_YES_OR_NO = "(?i:yes|no|true|false|1|0)"
_PLAIN_STORE_OPTIONS = {
    "protocol": "[23]",
    "health_check_interval": r"\d{1,4}",
    "socket_keepalive": _YES_OR_NO,
}
# Deadlines, retries and decoding are the client's own: an option of the URL would go before them. Whom TLS
# trusts say the settings of all connections (`shared/tls.py`).
_STORE_OPTIONS = {
    "redis": _PLAIN_STORE_OPTIONS,
    "unix": {"db": r"\d+"},
    "rediss": _PLAIN_STORE_OPTIONS,
}
_BROKER_OPTIONS = {"auth": "(?i:plain|amqplain|external)"}
VERIFIED = "verify-full"
"""The one kind of TLS to a database: the others go without a certificate, or fall back to none at all."""


def checked_store_url(url: str) -> str:
    """The URL of a Redis; raises ValueError for one that its client would read otherwise than it is meant."""
    parts = _checked_url(url, ("redis", "rediss", "unix"))
    options = parse_qsl(parts.query, keep_blank_values=True)
    if parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2] or not parts.path.strip("/"):
            raise ValueError("a unix URL names a path, as in unix:///run/redis.sock?db=0")
        database = dict(options).get("db", "0")
    else:
        database = parts.path.removeprefix("/") or "0"
    if not (database.isascii() and database.isdecimal() and int(database) < REDIS_DATABASES):
        raise ValueError(f"a database of Redis is a number from 0 to {REDIS_DATABASES - 1}, after one slash")
    _check_options(options, _STORE_OPTIONS[parts.scheme])
    return url


def checked_broker_url(url: str) -> str:
    """The URL of a broker; raises ValueError for one that its client would read otherwise than meant."""
    parts = _checked_url(url, ("amqp", "amqps"))
    _check_options(parse_qsl(parts.query, keep_blank_values=True), _BROKER_OPTIONS)
    return url


def checked_database_url(url: str) -> str:
    """The URL of a SQL database; raises ValueError for one that its driver would read otherwise."""
    if url.startswith("sqlite:"):
        if not url.startswith("sqlite:///") or "?" in url or "#" in url:
            raise ValueError("a SQLite URL names a file and nothing else, as in sqlite:////var/lib/orders.db")
        return url
    parts = _checked_url(url, ("postgresql",))
    if not parts.path.strip("/"):
        raise ValueError("a URL names no database")
    _check_options(parse_qsl(parts.query, keep_blank_values=True), {"ssl": f"disable|{VERIFIED}"})
    return url


def checked_http_url(url: str) -> str:
    """The base of an HTTP interface; raises ValueError."""
    _check_options(parse_qsl(_checked_url(url, ("http", "https")).query, keep_blank_values=True), {})
    return url


def checked_browser_url(url: str) -> str:
    """The base of links on pages that anyone may read, without the slash at its end; raises ValueError."""
    parts = urlsplit(checked_http_url(url))
    if "@" in parts.netloc:
        raise ValueError("a URL for browsers holds no login: everybody can read the page that has it")
    if "?" in url or "\\" in url:
        raise ValueError("a URL for browsers has no '?' and no backslash")
    return url.rstrip("/")


def _checked_url(url: str, schemes: tuple[str, ...]) -> SplitResult:
    """What all have in common. No message quotes the URL: it may hold a password, or half of one."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("a URL's host cannot be read, or its port is no number from 1 to 65535") from None
    if parts.scheme not in schemes:
        raise ValueError(f"a URL must begin with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if parts.scheme != "unix" and not host:
        raise ValueError("a URL names no host")
    if port == 0:
        raise ValueError("a URL's port is no number from 1 to 65535")
    if not url.isprintable() or " " in url or parts.fragment or _BAD_ESCAPE.search(url):
        raise ValueError("a URL has a space, '#', a control character or a '%' that is none of its escapes")
    try:
        unquote(url, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("the escapes in a URL are no UTF-8") from None
    if _is_guest(parts) and not is_loopback(host or ""):
        raise ValueError("the default password guest works on loopback only; set one of your own")
    return parts


def _check_options(options: Iterable[tuple[str, str]], known: Mapping[str, str]) -> None:
    for name, value in options:
        if name not in known:
            there_are = f"; there are: {', '.join(known)}" if known else ""
            raise ValueError(f"a URL has an option after '?' that is not known{there_are}")
        if not re.fullmatch(known[name], value):
            raise ValueError(f"the option {name} of a URL cannot have this value")


def _is_guest(parts: SplitResult) -> bool:
    """Whether RabbitMQ is asked with its default password, which AMQP clients fill in where none stands."""
    if parts.scheme.startswith("amqp") and parts.username is None:
        return True
    return (parts.username, parts.password) == ("guest", "guest")


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
