"""Processes are ended by record alone: the pid together with its start."""

import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orderctl.native import processes
from orderctl.native.layout import Layout

SLEEP = [sys.executable, "-c", "import time; print('hello', flush=True); time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)",
]
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])",
]


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Layout]:
    """A data folder in which nothing is left running."""
    layout = Layout(tmp_path)
    yield layout
    for owned in processes.owned_by(layout):
        processes.kill(owned.record)


def spawn(layout: Layout, command: list[str], name: str = "part") -> processes.ProcessRecord:
    """Start a part of the test."""
    return processes.spawn(layout, name, command, environment=os.environ, cwd=layout.data_dir)


def test_a_started_process_is_found_by_its_record(layout: Layout) -> None:
    """Another command finds a process by what was written down, in a session of its own."""
    record = spawn(layout, SLEEP)
    assert processes.running(layout, "part") == record
    assert os.getsid(record.pid) == record.pid


def test_output_goes_to_the_log(layout: Layout) -> None:
    """What a part prints is found in its log."""
    spawn(layout, SLEEP)
    assert processes.wait_until(lambda: "hello" in layout.log("part").read_text(), 10)


def test_a_reused_pid_is_not_ours(layout: Layout) -> None:
    """A process that has the recorded pid but another start is left alone."""
    record = spawn(layout, SLEEP)
    stranger = replace(record, start="another boot:1")
    assert not stranger.alive
    assert not processes.kill(stranger)
    assert record.alive


def test_killing_waits_until_the_process_is_gone(layout: Layout) -> None:
    """After kill the process does not run, and its end by SIGKILL is known to its parent."""
    record = spawn(layout, SLEEP)
    assert processes.kill(record)
    assert processes.running(layout, "part") is None
    assert not processes.kill(record)


def test_a_process_deaf_to_sigterm_is_killed_after_the_grace(layout: Layout) -> None:
    """The grace ends in SIGKILL."""
    record = spawn(layout, STUBBORN)
    assert processes.wait_until(lambda: "deaf" in layout.log("part").read_text(), 10)
    assert processes.terminate(record, 0.2)
    assert not record.alive


def test_a_frozen_process_can_be_terminated(layout: Layout) -> None:
    """A process that a test stopped with SIGSTOP gets its SIGTERM."""
    record = spawn(layout, SLEEP)
    os.kill(record.pid, signal.SIGSTOP)
    assert processes.terminate(record, 10.0)
    assert not record.alive


def test_children_without_a_record_are_found(layout: Layout) -> None:
    """The mark in the environment is inherited, so that nothing can stay behind unseen."""
    spawn(layout, PARENT)
    assert processes.wait_until(lambda: len(processes.owned_by(layout)) == 2, 10)


def test_processes_of_another_data_folder_are_not_ours(layout: Layout, tmp_path: Path) -> None:
    """Two clones side by side do not see each other's processes."""
    spawn(layout, SLEEP)
    assert processes.owned_by(Layout(tmp_path / "another")) == []


def test_a_broken_record_counts_as_none(layout: Layout) -> None:
    """A record that cannot be read never leads to a signal."""
    layout.create()
    layout.record("part").write_text("{", encoding="utf-8")
    assert processes.read_record(layout, "part") is None
