"""The data folder is private, and only one that orderctl made is ever removed."""

import stat
from pathlib import Path

import pytest

from orderctl.errors import OrderctlError
from orderctl.native.layout import LOG_ROTATE_BYTES, Layout, tail


def test_the_folder_is_private(tmp_path: Path) -> None:
    """Others cannot read the Erlang cookie or the logs."""
    layout = Layout(tmp_path / "data")
    layout.create()
    assert stat.S_IMODE(layout.data_dir.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_a_readable_error(tmp_path: Path) -> None:
    """Who may not write there is told how to choose another place."""
    (tmp_path / "file").touch()
    with pytest.raises(OrderctlError, match="data folder") as raised:
        Layout(tmp_path / "file" / "data").create()
    assert "--data-dir" in str(raised.value.advice)


def test_wiping_removes_everything(tmp_path: Path) -> None:
    """After a wipe nothing is left."""
    layout = Layout(tmp_path / "data")
    layout.create()
    layout.wipe()
    layout.wipe()
    assert not layout.data_dir.exists()


def test_a_foreign_folder_is_never_wiped(tmp_path: Path) -> None:
    """A folder that orderctl did not make is refused, whatever --data-dir says."""
    (tmp_path / "precious").touch()
    with pytest.raises(OrderctlError):
        Layout(tmp_path).wipe()
    assert (tmp_path / "precious").exists()


def test_a_large_log_is_rotated_once(tmp_path: Path) -> None:
    """Logs are bounded: one older file is kept."""
    layout = Layout(tmp_path)
    layout.create()
    layout.log("part").write_bytes(b"x" * (LOG_ROTATE_BYTES + 1))
    assert layout.rotate_log("part") == 0
    assert not layout.log("part").exists()


def test_a_log_in_use_is_cut_off_under_its_writer(tmp_path: Path) -> None:
    """A service that logs for weeks does not fill the disk, and goes on writing where it was."""
    layout = Layout(tmp_path)
    layout.create()
    with layout.log("part").open("ab") as stream:
        stream.write(b"x" * (LOG_ROTATE_BYTES + 1))
        stream.flush()
        layout.trim_log("part")
        stream.write(b"after")
    assert layout.log("part").read_bytes() == b"after"


def test_the_tail_is_the_end(tmp_path: Path) -> None:
    """The last lines are what an error shows; a missing log has none."""
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(100)), encoding="utf-8")
    assert tail(log, 2) == ["line 98", "line 99"]
    assert tail(tmp_path / "none") == []
