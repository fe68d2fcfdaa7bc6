"""Which mode `up` takes, and that every other command means the same one."""

from pathlib import Path

import pytest

from orderctl.docker import engine as docker_engine
from orderctl.docker.system import DockerSystem
from orderctl.embedded.system import EmbeddedSystem
from orderctl.modes import current_system, forget, system_for, system_to_bring_up
from orderctl.native import packages
from orderctl.native.layout import DATA_DIR_VARIABLE, Layout, project_root
from orderctl.native.system import NativeSystem
from orderctl.system import Mode


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder that does not exist yet."""
    return tmp_path / "data"


def machine(
    monkeypatch: pytest.MonkeyPatch, *, missing: list[str], installable: bool, engine: bool = False
) -> None:
    """A machine without these packages, with an engine that has the images or with none."""
    monkeypatch.setattr(docker_engine, "engine_version", lambda: "28.0" if engine else None)
    monkeypatch.setattr(docker_engine, "compose_version", lambda: "2.30")
    monkeypatch.setattr(docker_engine, "missing_images", lambda names: [])
    monkeypatch.setattr(packages, "missing", lambda: missing)
    monkeypatch.setattr(packages, "installable", lambda: installable)


@pytest.mark.parametrize(
    ("engine", "missing", "installable", "expected"),
    [
        (True, [], False, DockerSystem),
        (True, ["rabbitmq-server"], False, DockerSystem),
        (False, [], False, NativeSystem),
        (False, ["rabbitmq-server"], True, NativeSystem),
        (False, ["rabbitmq-server"], False, EmbeddedSystem),
    ],
)
def test_auto_takes_the_best_that_the_machine_offers(
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    engine: bool,
    missing: list[str],
    installable: bool,
    expected: type,
) -> None:
    """Containers; else real brokers where they are or can be installed; else everything in one process."""
    machine(monkeypatch, missing=missing, installable=installable, engine=engine)
    assert isinstance(system_to_bring_up(Mode.AUTO, folder), expected)


def test_every_other_command_means_what_up_took(folder: Path) -> None:
    """From its record in the data folder, until that is wiped."""
    assert isinstance(current_system(folder), NativeSystem)
    system_to_bring_up(Mode.EMBEDDED, folder)
    assert isinstance(current_system(folder), EmbeddedSystem)
    assert not current_system(folder).keeps_data
    forget(folder)
    assert isinstance(current_system(folder), NativeSystem)
    assert current_system(folder).keeps_data


def test_auto_goes_on_with_the_data_that_was_kept(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """A mode that keeps nothing is no reason to stay with it, one that is no longer offered neither."""
    machine(monkeypatch, missing=[], installable=False)
    system_to_bring_up(Mode.EMBEDDED, folder)
    assert isinstance(system_to_bring_up(Mode.AUTO, folder), NativeSystem)
    machine(monkeypatch, missing=["redis-server"], installable=False)
    assert isinstance(system_to_bring_up(Mode.AUTO, folder), EmbeddedSystem)


def test_auto_never_turns_from_data_because_an_engine_is_slow(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    """Whoever sees an empty system where orders were must think that they are lost."""
    machine(monkeypatch, missing=[], installable=False, engine=True)
    assert isinstance(system_to_bring_up(Mode.AUTO, folder), DockerSystem)
    Layout(folder).ports.write_text("{}", encoding="utf-8")  # as a start leaves it
    machine(monkeypatch, missing=[], installable=False, engine=False)
    assert isinstance(system_to_bring_up(Mode.AUTO, folder), DockerSystem)
    assert isinstance(system_to_bring_up(Mode.NATIVE, folder), NativeSystem)


def test_a_record_that_nobody_can_read_is_none(folder: Path) -> None:
    """A later version's mode, or what an editor left."""
    folder.mkdir()
    (folder / "mode").write_text("hovercraft\n")
    assert isinstance(current_system(folder), NativeSystem)


def test_each_mode_has_a_folder_of_its_own_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at one leaves the data of the other alone."""
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)
    modes = (Mode.DOCKER, Mode.NATIVE, Mode.EMBEDDED)
    folders = {system_for(mode, None).status().data_dir for mode in modes}
    assert folders == {project_root() / ".data" / mode for mode in modes}
