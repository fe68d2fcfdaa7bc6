"""Which way of running the pipeline is meant: the one that is asked for, the one that `up` took, or the best.

`up` writes down what it took beside the data, because every other command means that system. A mode is added
by its place in `_PREFERRED`, and by its class, which is imported where it is meant: each command starts fast.
"""

from pathlib import Path
from typing import Final

from orderctl.environment import chosen_ports
from orderctl.errors import OrderctlError
from orderctl.native.layout import ADVICE, Layout, chosen_data_dir, default_data_dir, project_root
from orderctl.system import Mode, System

_PREFERRED: Final = (Mode.DOCKER, Mode.NATIVE, Mode.EMBEDDED)
_RECORD = "mode"


def system_for(mode: Mode, data_dir: Path | None) -> System:
    """The system of this mode."""
    if mode is Mode.AUTO:
        mode = _recorded(data_dir) or _best()
    kind = _class_of(mode)
    return kind(data_dir or default_data_dir(mode), chosen_ports=chosen_ports(kind.port_settings))


def current_system(data_dir: Path | None) -> System:
    """The system that commands other than `up` mean: the one that `up` took last."""
    return system_for(_recorded(data_dir) or Mode.NATIVE, data_dir)


def system_to_bring_up(asked: Mode, data_dir: Path | None) -> System:
    """The system that `up` means, noted for the commands after it.

    `auto` goes on with what `up` took before: with what runs, or with the data that it has kept. Raises
    OrderctlError while another mode's system runs, since commands could not tell which of them is meant.
    """
    before, mode = _recorded(data_dir), asked
    if asked is Mode.AUTO:
        mode = before if before and (_goes_on(before, data_dir) or _runs(before, data_dir)) else _best()
    elif before and before is not asked and _runs(before, data_dir):
        raise OrderctlError(
            f"mode {before} runs here already",
            advice="end it first, with orderctl down, or run this one in another folder: --data-dir",
        )
    system = system_for(mode, data_dir)
    system.layout.check()
    _write_down(mode, data_dir)
    return system


def forget(data_dir: Path | None) -> None:
    """After a wipe, `auto` chooses afresh."""
    _record(data_dir).unlink(missing_ok=True)


def _class_of(mode: Mode) -> type[System]:
    if mode is Mode.DOCKER:
        from orderctl.docker.system import DockerSystem

        return DockerSystem
    if mode is Mode.EMBEDDED:
        from orderctl.embedded.system import EmbeddedSystem

        return EmbeddedSystem
    from orderctl.native.system import NativeSystem

    return NativeSystem


def _best() -> Mode:
    """The mode that comes closest to production of those that this machine offers."""
    return next(mode for mode in _PREFERRED if _class_of(mode).is_offered())


def _goes_on(mode: Mode, data_dir: Path | None) -> bool:
    """Where it has data it is gone on with, also if the machine does not offer it just now: an engine that is
    slow to answer must not lead to another, empty system."""
    has_data = Layout(data_dir or default_data_dir(mode)).ports.exists()
    kind = _class_of(mode)
    return kind.keeps_data and (has_data or kind.is_offered())


def _runs(mode: Mode, data_dir: Path | None) -> bool:
    return system_for(mode, data_dir).status().anything_runs


def _record(data_dir: Path | None) -> Path:
    return (data_dir or chosen_data_dir() or project_root() / ".data") / _RECORD


def _recorded(data_dir: Path | None) -> Mode | None:
    try:
        mode = Mode(_record(data_dir).read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        return None
    return mode if mode in _PREFERRED else None


def _write_down(mode: Mode, data_dir: Path | None) -> None:
    record = _record(data_dir)
    try:
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        record.write_text(f"{mode}\n", encoding="ascii")
    except OSError as error:
        what = f"the data folder cannot be made: {record.parent}: {error.strerror}"
        raise OrderctlError(what, advice=ADVICE) from error
