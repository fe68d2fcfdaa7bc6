"""Which way of running the pipeline is meant: native now, containers and embedded have their places here."""

import os
from enum import StrEnum
from pathlib import Path

from dotenv import dotenv_values

from orderctl.errors import ModeUnavailableError, OrderctlError
from orderctl.native.layout import default_data_dir, project_root
from orderctl.native.services import SERVICES
from orderctl.native.system import NativeSystem
from orderctl.system import System


class Mode(StrEnum):
    """What the operator may ask for."""

    AUTO = "auto"
    DOCKER = "docker"
    NATIVE = "native"
    EMBEDDED = "embedded"


def system_for(mode: Mode, data_dir: Path | None) -> System:
    """The system of this mode; raises ModeUnavailableError for one that does not exist yet."""
    if mode in (Mode.DOCKER, Mode.EMBEDDED):
        raise ModeUnavailableError(f"mode {mode} comes with a later version; this one has: native")
    return NativeSystem(data_dir or default_data_dir(), chosen_ports=chosen_ports())


def current_system(data_dir: Path | None) -> System:
    """The system that commands other than `up` mean."""
    return system_for(Mode.AUTO, data_dir)


def chosen_ports() -> dict[str, int]:
    """The service ports that the operator set, by environment or `.env`, keyed by the setting's name."""
    values = {**dotenv_values(project_root() / ".env"), **os.environ}
    settings = [setting for spec in SERVICES.values() for setting in spec.ports]
    return {setting: _port(setting, value) for setting in settings if (value := values.get(setting))}


def _port(setting: str, value: str) -> int:
    if not value.isdecimal() or not 0 < int(value) < 65_536:
        raise OrderctlError(f"{setting}={value}: not a port")
    return int(value)
