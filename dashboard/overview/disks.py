"""The room on the disks under the pipeline's data, where the dashboard runs beside it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

LEAST_FREE_BYTES: Final = 500 * 1024 * 1024
"""Ten times what a broker wants before it takes messages."""
WHOLE: Final = "the data folder"


def short_disks(data_dir: Path | None) -> Mapping[str, int]:
    """The free bytes of each disk that has too few, by the first folder in ``data_dir`` that is on it.

    A folder that cannot be looked at is passed over; without ``data_dir`` there is none to look at.
    """
    if data_dir is None:
        return {}
    names: dict[int, str] = {}
    free_bytes: dict[int, int] = {}
    for folder in (data_dir, *sorted(data_dir.glob("*/"))):
        try:
            disk, room = folder.stat().st_dev, os.statvfs(folder)
        except OSError:
            continue
        names.setdefault(disk, WHOLE if folder == data_dir else folder.name)
        free_bytes[disk] = room.f_bavail * room.f_frsize
    return {names[disk]: free for disk, free in free_bytes.items() if free < LEAST_FREE_BYTES}
