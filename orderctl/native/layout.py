"""Where everything of one native system lives: one folder, so that wiping is removing it."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orderctl.errors import OrderctlError

DATA_DIR_VARIABLE = "ORDERCTL_DATA_DIR"
LOG_ROTATE_BYTES = 20 * 1024 * 1024
ADVICE = f"choose another folder with --data-dir or {DATA_DIR_VARIABLE}"
LONGEST_PATH_BYTES = 400  # RabbitMQ and Redis add some 150 of their own; Redis ends at 1,024
_SIGN = "orderctl-native"
_NOT_IN_PATHS = frozenset("\"'\\$`;&|<>()%")  # RabbitMQ hands its paths through a shell and Erlang terms
_PATHS = f"a path has at most {LONGEST_PATH_BYTES} bytes, no control characters and none of \"'\\$`;&|<>()%"


def project_root() -> Path:
    """The checkout this package lies in, or the working directory when it was installed elsewhere."""
    checkout = Path(__file__).resolve().parents[2]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def default_data_dir(mode: str = "native") -> Path:
    """`ORDERCTL_DATA_DIR`, else the mode's folder in `.data` in the checkout."""
    return chosen_data_dir() or project_root() / ".data" / mode


def chosen_data_dir() -> Path | None:
    """What `ORDERCTL_DATA_DIR` says."""
    chosen = os.environ.get(DATA_DIR_VARIABLE)
    return Path(chosen).expanduser().resolve() if chosen else None


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of files and folders below the data folder; nothing is touched before `create`."""

    data_dir: Path

    @property
    def sign(self) -> Path:
        """Present in every folder that we made; `wipe` removes no folder without it."""
        return self.data_dir / _SIGN

    @property
    def home(self) -> Path:
        """HOME of the brokers, which keeps the Erlang cookie away from the operator's own."""
        return self.data_dir / "home"

    @property
    def ports(self) -> Path:
        return self.data_dir / "ports.json"

    @property
    def secrets(self) -> Path:
        """The passwords that were made for this folder."""
        return self.data_dir / "secrets.json"

    @property
    def formed(self) -> Path:
        """Present once all three brokers have run in one cluster."""
        return self.data_dir / "cluster-formed"

    def part(self, name: str) -> Path:
        """The folder with configuration and data of one broker or of Redis."""
        return self.data_dir / name

    @property
    def run_dir(self) -> Path:
        """What is known about the processes that were started; without meaning once all have ended."""
        return self.data_dir / "run"

    def record(self, name: str) -> Path:
        return self.run_dir / f"{name}.json"

    def stopped(self, name: str) -> Path:
        """Present while the operator wants the service to stay down."""
        return self.run_dir / f"{name}.stopped"

    def log(self, name: str) -> Path:
        return self.data_dir / "logs" / f"{name}.log"

    def check(self) -> None:
        """Raises OrderctlError for a path that some program could not take, before anything is made."""
        path = str(self.data_dir)
        if not path.isprintable() or set(path) & _NOT_IN_PATHS or len(os.fsencode(path)) > LONGEST_PATH_BYTES:
            raise OrderctlError(f"the brokers cannot work in {path}: {_PATHS}", advice=ADVICE)

    def create(self) -> None:
        """Make the folders, private to this user because of the Erlang cookie; raises OrderctlError."""
        self.check()
        try:
            for folder in (self.data_dir, self.home, self.run_dir, self.data_dir / "logs"):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.sign.touch()
        except OSError as error:
            what = f"the data folder cannot be made: {self.data_dir}: {error.strerror}"
            raise OrderctlError(what, advice=ADVICE) from error

    def wipe(self) -> None:
        """Remove the folder and all data in it; refuses a folder that `create` did not make."""
        if not self.data_dir.exists():
            return
        if not self.sign.is_file():
            raise OrderctlError(f"{self.data_dir} was not made by orderctl; it is left as it is")
        shutil.rmtree(self.data_dir)

    def rotate_log(self, name: str) -> int:
        """Keep one older log once the current one is past `LOG_ROTATE_BYTES`; returns the bytes left."""
        log = self.log(name)
        size = log.stat().st_size if log.exists() else 0
        if size <= LOG_ROTATE_BYTES:
            return size
        log.replace(log.with_suffix(".log.1"))
        return 0

    def trim_log(self, name: str) -> None:
        """Do the same under processes that append to the log: copy what there is, then cut it off.

        Without room for the copy the log is cut off all the same: it must not fill what is left.
        """
        log = self.log(name)
        if not log.exists() or log.stat().st_size <= LOG_ROTATE_BYTES:
            return
        older = log.with_suffix(".log.1")
        try:
            shutil.copyfile(log, older)
        except OSError:
            older.unlink(missing_ok=True)
        os.truncate(log, 0)

    def logged(self) -> list[str]:
        """The names under which something was logged."""
        return sorted(log.stem for log in self.log("any").parent.glob("*.log"))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one command at a time change what runs; waits for the other."""
        self.create()
        with _flock(self.data_dir / "lock"):
            yield

    @contextmanager
    def making_secrets(self) -> Iterator[None]:
        """Let one process at a time look for a password and make it."""
        with _flock(self.data_dir / "secrets-lock"):
            yield

    @contextmanager
    def spawning(self) -> Iterator[None]:
        """Keep "does it run, is it meant to?" and "start it" together, between commands and supervisor."""
        with _flock(self.data_dir / "spawn-lock"):
            yield


@contextmanager
def _flock(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def tail(log: Path, lines: int = 15) -> list[str]:
    """The last lines of a log, empty when there is none."""
    if not log.is_file():
        return []
    with log.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - 64 * 1024))
        return stream.read().decode("utf-8", "replace").splitlines()[-lines:]
