"""The programs of the distribution: found where they are, installed where that is possible.

The packages of Debian and Ubuntu start daemons of their own when they are installed, and PostgreSQL's makes
a database for its daemon. A `policy-rc.d` that says no, and a setting against that database, are put in place
for as long as the installation takes, and what was enabled for the next boot is disabled again.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from orderctl.errors import OrderctlError, PartFailedError
from orderctl.programs import output_of, succeeds
from orderctl.progress import Progress, Step, StepState, note

POLICY = Path("/usr/sbin/policy-rc.d")
NO_DATABASE = Path("/etc/postgresql-common/createcluster.d/orderctl.conf")
RABBITMQ_FOLDER_VARIABLE = "ORDERCTL_RABBITMQ_BIN"
POSTGRES_FOLDER_VARIABLE = "ORDERCTL_POSTGRES_BIN"
OLDEST_POSTGRES = 15
NGINX = "nginx-light"
# The wrapper that Debian puts on the PATH changes user and folder, so the real folder comes first.
_RABBITMQ_FOLDERS = (
    "/usr/lib/rabbitmq/bin",
    "/usr/local/sbin",
    "/opt/homebrew/sbin",
    "/opt/homebrew/opt/rabbitmq/sbin",
)
_POSTGRES_FOLDERS = (
    "usr/lib/postgresql/*/bin",
    "opt/homebrew/opt/postgresql@*/bin",
    "usr/local/opt/postgresql@*/bin",
)
_UNITS = {
    "rabbitmq-server": ("rabbitmq-server", "epmd.socket", "epmd"),
    "redis-server": ("redis-server",),
    "postgresql": ("postgresql",),
    "nginx-light": ("nginx",),
}
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


def nginx() -> Path:
    """The web server in front of the gateway; raises OrderctlError if it is not installed."""
    return _found(shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin"), NGINX)


def postgres_folders() -> dict[int, Path]:
    """The folders with PostgreSQL's programs, by major version, the newest first."""
    chosen = os.environ.get(POSTGRES_FOLDER_VARIABLE)
    on_path = shutil.which("postgres")
    folders = [folder for pattern in _POSTGRES_FOLDERS for folder in Path("/").glob(pattern)]
    folders += [Path(on_path).resolve().parent] if on_path else []
    found = {_major_of(folder): folder for folder in ([Path(chosen)] if chosen else reversed(folders))}
    return {major: found[major] for major in sorted(found, reverse=True) if major >= OLDEST_POSTGRES}


def postgres_program(name: str, major: int | None = None) -> Path:
    """One of PostgreSQL's programs, of this major version if one is given; raises OrderctlError."""
    folders = postgres_folders()
    found = folders.get(major) if major else next(iter(folders.values()), None)
    package = f"postgresql-{major}" if major else "postgresql"
    return _found(found, package, f"PostgreSQL {major or ''}".strip()) / name


def epmd() -> Path:
    """Erlang's port mapper; raises OrderctlError if it is not installed."""
    found = shutil.which("epmd") or next(iter(sorted(Path("/usr/lib/erlang").glob("erts-*/bin/epmd"))), None)
    return _found(found, "rabbitmq-server", "epmd (Erlang)")


def _major_of(folder: Path) -> int:
    """0 for a folder that lacks the server."""
    if not ((folder / "postgres").is_file() and (folder / "initdb").is_file()):
        return 0
    if named := re.fullmatch(r"(?:postgresql@)?(\d+)", folder.parent.name):
        return int(named[1])
    try:
        said = output_of([str(folder / "postgres"), "--version"], seconds=10.0, called="postgres")
    except PartFailedError:
        return 0
    version = re.search(r"\d+", said)
    return int(version[0]) if version else 0


def _found(path: str | Path | None, package: str, what: str = "") -> Path:
    if path is None:
        raise OrderctlError(f"{what or package} is not installed", advice=_advice([package]))
    return Path(path)


def missing() -> list[str]:
    """The packages whose programs are not on this machine."""
    present = {
        "rabbitmq-server": rabbitmq_folder(),
        "redis-server": shutil.which("redis-server"),
        "postgresql": postgres_folders(),
    }
    return [package for package, found in present.items() if not found]


def installable() -> bool:
    """True on Debian and its children, as root."""
    return shutil.which("apt-get") is not None and os.geteuid() == 0


def ensure_nginx(progress: Progress, log: Path) -> None:
    """The same of what the edge needs."""
    try:
        nginx()
    except OrderctlError:
        _install([NGINX], progress, log)


def ensure(progress: Progress, log: Path) -> None:
    """Install what is missing, without starting its daemons; raises OrderctlError where it cannot."""
    _install(missing(), progress, log)


def _install(absent: list[str], progress: Progress, log: Path) -> None:
    if not absent:
        return
    if not installable():
        raise OrderctlError(f"not installed: {', '.join(absent)}", advice=_advice(absent))
    progress(Step(name=_STEP, state=StepState.WORKING, detail=f"apt-get install {' '.join(absent)}"))
    enabled_before = _enabled_at_boot(absent)
    with _daemons_suppressed(absent):
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
def _daemons_suppressed(names: Collection[str] = ()) -> Iterator[None]:
    """Answer "forbidden" (101) to every package that asks whether it may start its daemon.

    PostgreSQL's asks whether to make a database for one as well, and is told "no".
    """
    with ExitStack() as stack:
        if not POLICY.exists():
            stack.enter_context(_in_place(POLICY, "#!/bin/sh\nexit 101\n", 0o755))
        if "postgresql" in names:
            stack.enter_context(_in_place(NO_DATABASE, "create_main_cluster = false\n", 0o644))
        yield


@contextmanager
def _in_place(path: Path, text: str, mode: int) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")
    path.chmod(mode)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


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
