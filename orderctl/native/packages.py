"""The programs of the distribution: found where they are, installed where that is possible.

The packages of Debian and Ubuntu start daemons of their own when they are installed. A `policy-rc.d` that
says no is put in place for as long as the installation takes, and what was enabled for the next boot is
disabled again.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orderctl.errors import OrderctlError
from orderctl.programs import succeeds
from orderctl.progress import Progress, Step, StepState, note

POLICY = Path("/usr/sbin/policy-rc.d")
RABBITMQ_FOLDER_VARIABLE = "ORDERCTL_RABBITMQ_BIN"
# The wrapper that Debian puts on the PATH changes user and folder, so the real folder comes first.
_RABBITMQ_FOLDERS = (
    "/usr/lib/rabbitmq/bin",
    "/usr/local/sbin",
    "/opt/homebrew/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
)
_UNITS = {"rabbitmq-server": ("rabbitmq-server", "epmd.socket", "epmd"), "redis-server": ("redis-server",)}
_STEP = "packages"


def rabbitmq_folder() -> Path | None:
    """The folder with `rabbitmq-server`, `rabbitmqctl` and `rabbitmq-queues`; None if not installed."""
    chosen = os.environ.get(RABBITMQ_FOLDER_VARIABLE)
    for folder in [chosen] if chosen else _RABBITMQ_FOLDERS:
        if Path(folder, "rabbitmq-server").is_file():
            return Path(folder)
    found = shutil.which("rabbitmq-server")
    return Path(found).resolve().parent if found else None


def rabbitmq_program(name: str) -> Path:
    """One of RabbitMQ's programs; raises OrderctlError if it is not installed."""
    return _found(rabbitmq_folder(), "rabbitmq-server") / name


def redis_server() -> Path:
    """The Redis server; raises OrderctlError if it is not installed."""
    return _found(shutil.which("redis-server"), "redis-server")


def epmd() -> Path:
    """Erlang's port mapper; raises OrderctlError if it is not installed."""
    found = shutil.which("epmd") or next(iter(sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))), None)
    return _found(found, "rabbitmq-server", "epmd (Erlang)")


def _found(path: str | Path | None, package: str, what: str = "") -> Path:
    if path is None:
        raise OrderctlError(f"{what or package} is not installed", advice=_advice([package]))
    return Path(path)


def missing() -> list[str]:
    """The packages whose programs are not on this machine."""
    absent = [] if rabbitmq_folder() else ["rabbitmq-server"]
    return absent if shutil.which("redis-server") else [*absent, "redis-server"]


def installable() -> bool:
    """True on Debian and its children, as root."""
    return shutil.which("apt-get") is not None and os.geteuid() == 0


def ensure(progress: Progress, log: Path) -> None:
    """Install what is missing, without starting its daemons; raises OrderctlError where it cannot."""
    absent = missing()
    if not absent:
        return
    if not installable():
        raise OrderctlError(f"not installed: {', '.join(absent)}", advice=_advice(absent))
    progress(Step(name=_STEP, state=StepState.WORKING, detail=f"apt-get install {' '.join(absent)}"))
    enabled_before = _enabled_at_boot(absent)
    with _daemons_suppressed():
        if not _apt_get(log, "install", *absent):
            _apt_get(log, "update")
            if not _apt_get(log, "install", *absent):
                progress(Step(name=_STEP, state=StepState.FAILED, detail="apt-get failed"))
                raise OrderctlError(f"apt-get could not install {', '.join(absent)}", log=log)
    disabled = sorted(_enabled_at_boot(absent) - enabled_before)
    if disabled:
        subprocess.run(["systemctl", "disable", *disabled], capture_output=True, check=False)
    progress(Step(name=_STEP, state=StepState.DONE, detail=f"installed {', '.join(absent)}"))
    note(progress, f"installed with apt-get: {', '.join(absent)}; none of their own daemons was started")
    if disabled:
        note(progress, f"disabled at boot, because we installed them: {', '.join(disabled)}")


def _apt_get(log: Path, command: str, *names: str) -> bool:
    options = ["--yes", "--no-install-recommends"] if command == "install" else []
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    return succeeds(["apt-get", command, *options, *names], log, seconds=None, environment=environment)


@contextmanager
def _daemons_suppressed() -> Iterator[None]:
    """Answer "forbidden" (101) to every package that asks whether it may start its daemon."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def _enabled_at_boot(names: list[str]) -> set[str]:
    """Which daemons of these packages the system would start by itself."""
    if shutil.which("systemctl") is None:
        return set()
    units = [unit for name in names for unit in _UNITS[name]]
    command = ["systemctl", "is-enabled", "--quiet"]
    return {
        unit
        for unit in units
        if not subprocess.run([*command, unit], check=False, stderr=subprocess.DEVNULL).returncode
    }


def _advice(names: list[str]) -> str:
    return f"as root, on Debian or Ubuntu: apt-get install --no-install-recommends {' '.join(names)}"
