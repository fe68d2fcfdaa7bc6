"""Packages are installed without their daemons, and only where that is possible."""

import shutil
import stat
from pathlib import Path

import pytest

from orderctl.errors import OrderctlError
from orderctl.native import packages
from orderctl.progress import silent


@pytest.fixture
def policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place of the test for what is `/usr/sbin/policy-rc.d` elsewhere."""
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(packages, "POLICY", policy)
    monkeypatch.setattr(packages, "NO_DATABASE", tmp_path / "createcluster.d" / "orderctl.conf")
    return policy


@pytest.fixture
def installations(policy: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the policy said each time that apt-get ran."""
    seen: list[str] = []

    def apt_get(log: Path, command: str, *names: str) -> bool:
        seen.append(policy.read_text(encoding="ascii"))
        return True

    monkeypatch.setattr(packages, "_apt_get", apt_get)
    monkeypatch.setattr(packages, "_enabled_at_boot", lambda names: set())
    monkeypatch.setattr(packages, "missing", lambda: ["redis-server"])
    monkeypatch.setattr(packages, "installable", lambda: True)
    return seen


def test_daemons_are_forbidden_while_packages_are_installed(
    policy: Path, installations: list[str], tmp_path: Path
) -> None:
    """The policy is there during the installation and gone after it."""
    packages.ensure(silent, tmp_path / "log")
    assert installations == ["#!/bin/sh\nexit 101\n"]
    assert not policy.exists()


def test_a_policy_of_the_machine_is_left_as_it_is(
    policy: Path, installations: list[str], tmp_path: Path
) -> None:
    """Who has a policy already keeps it."""
    policy.write_text("#!/bin/sh\nexit 0\n", encoding="ascii")
    packages.ensure(silent, tmp_path / "log")
    assert policy.read_text(encoding="ascii") == "#!/bin/sh\nexit 0\n"


def test_the_policy_can_be_executed(policy: Path) -> None:
    """A policy that cannot be executed would be ignored."""
    with packages._daemons_suppressed():
        assert policy.stat().st_mode & stat.S_IXUSR


def test_postgresql_is_installed_without_a_database_of_its_own(
    policy: Path, installations: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian's makes one for its daemon unless a setting says no, which is there no longer than needed."""
    said: list[str] = []

    def apt_get(log: Path, command: str, *names: str) -> bool:
        said.append(packages.NO_DATABASE.read_text(encoding="ascii"))
        return True

    monkeypatch.setattr(packages, "_apt_get", apt_get)
    monkeypatch.setattr(packages, "missing", lambda: ["postgresql"])
    packages.ensure(silent, tmp_path / "log")
    assert said == ["create_main_cluster = false\n"]
    assert not packages.NO_DATABASE.exists()


def test_a_postgresql_that_is_too_old_or_has_no_server_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several, the newest; an older one only for the data that it made."""
    for name, programs in {
        "14": ["postgres", "initdb"],
        "15": ["postgres", "initdb"],
        "16": ["psql"],
    }.items():
        (tmp_path / name / "bin").mkdir(parents=True)
        for program in programs:
            (tmp_path / name / "bin" / program).touch()
    monkeypatch.setattr(packages, "_POSTGRES_FOLDERS", (f"{tmp_path.relative_to('/')}/*/bin",))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.delenv(packages.POSTGRES_FOLDER_VARIABLE, raising=False)
    assert packages.postgres_program("initdb") == tmp_path / "15" / "bin" / "initdb"
    with pytest.raises(OrderctlError, match="PostgreSQL 16 is not installed"):
        packages.postgres_program("postgres", 16)


def test_what_cannot_be_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A user who may not install packages is told which ones are missing and how to get them."""
    monkeypatch.setattr(packages, "missing", lambda: ["rabbitmq-server"])
    monkeypatch.setattr(packages, "installable", lambda: False)
    with pytest.raises(OrderctlError, match="rabbitmq-server") as raised:
        packages.ensure(silent, tmp_path / "log")
    assert "apt-get install" in str(raised.value.advice)
