"""What processes have used of the CPU, and of memory."""

from collections.abc import Iterable
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What one process has used: CPU seconds (user and system) and resident bytes."""

    cpu_seconds: float
    resident_bytes: int


def use_of(pid: int) -> Use:
    """What one process has used."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    return Use(cpu_seconds=times.user + times.system, resident_bytes=process.memory_info().rss)


def cpu_seconds(pids: Iterable[int]) -> float:
    """What these have used together."""
    return sum(use_of(pid).cpu_seconds for pid in pids)


def pids_of(text: str) -> tuple[int, ...]:
    """An option's value: pids with commas between them."""
    return tuple(map(int, text.split(",")))
