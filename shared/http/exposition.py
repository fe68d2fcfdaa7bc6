"""A registry in the one of Prometheus' formats that the caller asked for."""

from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from shared.http.negotiation import preferred

TEXT: Final = "text/plain"
OPEN_METRICS: Final = "application/openmetrics-text"
NAMED: Final = (OPEN_METRICS, TEXT)
_VERSION: Final = "1.0.0"
"""Of either format, the one that we can write besides the default; its number is the same by chance."""


def wants_exposition(accept: str) -> bool:
    """Whether the caller named one of Prometheus' formats and did not prefer JSON."""
    return preferred(accept, NAMED) in NAMED


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The body, and its content type, in the best format that ``accept`` names; else in the plain one."""
    encode, content_type = choose_encoder(_choice(accept))
    return encode(registry), content_type


def _choice(accept: str) -> str:
    """The part of ``accept`` that the library shall see: one range, of a version that it can write.

    Left to itself it takes the first range whatever the q values say, and trips over a malformed version.
    """
    chosen = preferred(accept, NAMED)
    usable = [TEXT]
    for media_range in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in media_range.split(";"))
        told = dict(part.split("=", 1) for part in parameters if "=" in part)
        if media_type == chosen and told.get("version", _VERSION) == _VERSION:
            kept = [f"{name}={told[name]}" for name in ("version", "escaping") if name in told]
            usable.append(";".join([chosen, *kept]))
    return max(usable, key=len)
