"""Processes by record: a pid counts as ours only together with the moment at which it was started.

A pid alone is reused by the system, so a record also names the process' start, and nothing is ever
ended by its name. The start is counted in ticks since boot where Linux tells them, because the wall-clock
time that other systems give moves when the clock is set.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from orderctl.native.layout import Layout

OWNER_VARIABLE = "ORDERCTL_OWNER"
PART_VARIABLE = "ORDERCTL_PART"
POLL_SECONDS = 0.02

_children: dict[int, subprocess.Popen[bytes]] = {}  # of this very process, which has to reap them


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """One process that we started.

    `log_bytes` is how long its log was before; `fingerprint` stands for the settings it was started with.
    """

    name: str
    pid: int
    start: str
    log_bytes: int = 0
    fingerprint: str = ""

    @property
    def alive(self) -> bool:
        """True while this very process runs; a zombie is dead."""
        return start_of(self.pid) == self.start

    @property
    def age_seconds(self) -> float:
        """How long it has been running; 0 if it does not run."""
        try:
            return time.time() - psutil.Process(self.pid).create_time() if self.alive else 0.0
        except psutil.Error:
            return 0.0


def start_of(pid: int) -> str | None:
    """What identifies the process behind a pid beyond its number; None if there is none.

    A zombie is none, except while threads of it still end: until then its ports are taken.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1:
            return None
        if not psutil.LINUX:
            return f"{process.create_time():.2f}"
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (psutil.Error, OSError):
        return None
    return f"{boot}:{stat.rpartition(')')[2].split()[19]}"


def spawn(
    layout: Layout,
    name: str,
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: Path,
    fingerprint: str = "",
    descriptors: Sequence[int] = (),
) -> ProcessRecord:
    """Start a process in a session of its own, its output in its log, and record it.

    It inherits these descriptors, under their numbers.
    """
    layout.create()
    log_bytes = layout.rotate_log(name)
    with layout.log(name).open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**environment, OWNER_VARIABLE: str(layout.data_dir), PART_VARIABLE: name},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=descriptors,
        )
    _children[process.pid] = process
    start = start_of(process.pid) or "ended at once"
    record = ProcessRecord(
        name=name, pid=process.pid, start=start, log_bytes=log_bytes, fingerprint=fingerprint
    )
    write_record(layout, record)
    return record


def reap() -> None:
    """Take note of the processes of ours that have ended by themselves, so that none stays a zombie."""
    for pid, child in list(_children.items()):
        if child.poll() is not None:
            del _children[pid]


def write_record(layout: Layout, record: ProcessRecord) -> None:
    """Replace the record in one step, so that no reader sees half of it."""
    path = layout.record(record.name)
    draft = path.with_suffix(f".{os.getpid()}.new")
    draft.write_text(json.dumps(asdict(record)), encoding="utf-8")
    draft.replace(path)


def read_record(layout: Layout, name: str) -> ProcessRecord | None:
    """The last process that was started under this name, dead or alive."""
    try:
        return ProcessRecord(**json.loads(layout.record(name).read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
        return None


def running(layout: Layout, name: str) -> ProcessRecord | None:
    """The record under this name if its process is alive."""
    record = read_record(layout, name)
    return record if record is not None and record.alive else None


def listens(record: ProcessRecord, port: int) -> bool:
    """True if this very process, and no stranger, accepts connections on a port of this machine."""
    try:
        sockets = psutil.Process(record.pid).net_connections("tcp") if record.alive else []
    except (psutil.Error, OSError):
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in sockets)


def wait_gone(record: ProcessRecord, timeout_seconds: float) -> bool:
    """Wait until the process has ended; False when it outlives the timeout."""
    gone = wait_until(lambda: not record.alive, timeout_seconds)
    exit_code(record)
    return gone


def wait_until(
    condition: Callable[[], bool], timeout_seconds: float, poll_seconds: float = POLL_SECONDS
) -> bool:
    """Poll a condition; its last value is the answer."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(poll_seconds)
    return True


def exit_code(record: ProcessRecord) -> int | None:
    """How a process that this very process started has ended (negative: by which signal); None if unknown."""
    child = _children.get(record.pid)
    if child is None:
        return None
    code = child.poll()
    if code is not None:
        del _children[record.pid]
    return code


def send(record: ProcessRecord, number: signal.Signals) -> bool:
    """Send a signal if the recorded process still is the one behind its pid."""
    if not record.alive:
        return False
    try:
        os.kill(record.pid, number)
    except ProcessLookupError:
        return False
    return True


def kill(record: ProcessRecord, timeout_seconds: float = 5.0) -> bool:
    """SIGKILL, then wait until the process is gone; False if it was not running."""
    return send(record, signal.SIGKILL) and wait_gone(record, timeout_seconds)


def terminate(record: ProcessRecord, grace_seconds: float, number: signal.Signals = signal.SIGTERM) -> bool:
    """SIGTERM (and SIGCONT, for a frozen one), SIGKILL after the grace; False if it was not running."""
    if not send(record, number):
        return False
    send(record, signal.SIGCONT)
    if not wait_gone(record, grace_seconds):
        kill(record)
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnedProcess:
    """A process that carries our mark: a part (its name is the record's) or a child of one."""

    record: ProcessRecord
    program: str


def owned_by(layout: Layout) -> list[OwnedProcess]:
    """Every live process that was started for this data folder, children and unrecorded ones included.

    They are known by the variables that `spawn` puts into their environment, which children inherit.
    """
    return [found for process in psutil.process_iter() if (found := _owned(process, str(layout.data_dir)))]


def _owned(process: psutil.Process, owner: str) -> OwnedProcess | None:
    try:
        environment = process.environ()
        if environment.get(OWNER_VARIABLE) != owner or process.pid == os.getpid():
            return None
        program = process.name()
    except (psutil.Error, OSError):
        return None
    start = start_of(process.pid)
    if start is None:
        return None
    record = ProcessRecord(name=environment.get(PART_VARIABLE, program), pid=process.pid, start=start)
    return OwnedProcess(record=record, program=program)
