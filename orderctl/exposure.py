"""Whether strangers could reach the gateway and count as operators."""

from collections.abc import Mapping
from typing import Final

from shared.urls import is_loopback

HOST: Final = "GATEWAY_HOST"
AUTH: Final = "GATEWAY_AUTH"
ADVICE: Final = (
    "set GATEWAY_AUTH=required, or leave the gateway on 127.0.0.1 behind a proxy that knows its users"
)


def exposure(host: str, settings: Mapping[str, str]) -> str | None:
    """What is wrong with publishing the gateway on ``host`` under these settings, if anything is."""
    if is_loopback(host) or settings.get(AUTH) == "required":
        return None
    return f"the gateway would take requests without a token on {host}, each as an operator's"
