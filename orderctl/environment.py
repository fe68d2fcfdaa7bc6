"""What the operator set: the environment of the command, and `.env` in the checkout."""

import os
from collections.abc import Iterable, Mapping

from orderctl.errors import OrderctlError
from orderctl.native.layout import project_root


def operator_settings() -> Mapping[str, str]:
    """Every variable, as the services read it: the environment goes before `.env`. Raises OrderctlError."""
    from dotenv import dotenv_values

    path = project_root() / ".env"
    try:
        written = dotenv_values(path) if path.exists() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise OrderctlError(f"{path} cannot be read: {error}") from error
    return {name: value for name, value in {**written, **os.environ}.items() if value is not None}


def chosen_ports(names: Iterable[str]) -> dict[str, int]:
    """The ports that the operator chose, keyed by the setting's name; raises OrderctlError."""
    settings = operator_settings()
    return {name: _port(name, value) for name in names if (value := settings.get(name))}


def _port(setting: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal()) or not 0 < int(value) < 65_536:
        raise OrderctlError(f"{setting}={value}: not a port")
    return int(value)
