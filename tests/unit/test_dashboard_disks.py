"""Disks with too little room are known by what is on them."""

import os
from pathlib import Path

import pytest

from dashboard.overview import disks
from dashboard.overview.disks import short_disks

BLOCK_BYTES = 4_096


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Two parts on the disk of their folder."""
    for part in ("postgres", "redis"):
        (tmp_path / part).mkdir()
    return tmp_path


def leave(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    """Every disk has so much room."""
    blocks = free_bytes // BLOCK_BYTES
    told = os.statvfs_result((BLOCK_BYTES, BLOCK_BYTES, blocks, blocks, blocks, 1, 1, 1, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: told)


def test_one_disk_is_told_of_once(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the folder that all is in."""
    leave(monkeypatch, 8_192_000)
    assert short_disks(data_dir) == {"the data folder": 8_192_000}


def test_a_disk_with_room_is_not_told_of(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is anything where no folder is given, or none is there."""
    leave(monkeypatch, disks.LEAST_FREE_BYTES)
    assert short_disks(data_dir) == {}
    leave(monkeypatch, 0)
    assert short_disks(None) == {}
    assert short_disks(data_dir / "away") == {}
