"""SQL databases for tests: SQLite in a folder, and a PostgreSQL of the test run's own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orderctl.native.ports import LOOPBACK
from orderctl.native.processes import wait_until
from tests.harness.stores import free_port

BINARIES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/bin"))
UNPRIVILEGED = "nobody"
OWNER = "tests"
START_SECONDS = 30.0


def can_run_postgres() -> bool:
    """Whether this machine has the server's programs."""
    return (BINARIES / "initdb").exists()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresServer:
    """A PostgreSQL that only this test run knows. It takes anybody, on loopback."""

    port: int
    process: subprocess.Popen[bytes]

    def new_database(self, name: str) -> str:
        """Makes an empty database, and says where it is."""
        self.ask("postgres", f'DROP DATABASE IF EXISTS "{name}"')
        self.ask("postgres", f'CREATE DATABASE "{name}"')
        return f"postgresql://{OWNER}@{LOOPBACK}:{self.port}/{name}"

    def ask(self, database: str, statement: str) -> str:
        """What psql prints for a statement, past every client under test."""
        words = [
            "psql",
            "-h",
            LOOPBACK,
            "-p",
            str(self.port),
            "-U",
            OWNER,
            "-d",
            database,
            "-qtAc",
            statement,
        ]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stops every process of it for the block; connections stay open."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in (self.process.pid, *_children(self.process.pid)):
            os.kill(pid, number)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Runs one in a folder of its own, as an unprivileged user where we are root, since it refuses root."""
    with tempfile.TemporaryDirectory(prefix="orders-sql-", ignore_cleanup_errors=True) as folder:
        data, port = Path(folder) / "data", free_port()
        lead: Sequence[str] = ()
        if os.geteuid() == 0:
            account = pwd.getpwnam(UNPRIVILEGED)
            shutil.chown(folder, account.pw_uid, account.pw_gid)
            lead = (
                "setpriv",
                f"--reuid={account.pw_uid}",
                f"--regid={account.pw_gid}",
                "--clear-groups",
                "--",
            )
        made = [*lead, str(BINARIES / "initdb"), "-D", str(data), "-U", OWNER, "--auth=trust", "--no-sync"]
        subprocess.run(made, cwd=folder, check=True, capture_output=True, timeout=60)
        options = ["-p", str(port), "-h", LOOPBACK, "-k", "", "-c", "fsync=off"]
        process = subprocess.Popen(
            [*lead, str(BINARIES / "postgres"), "-D", str(data), *options],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            ready = [str(BINARIES / "pg_isready"), "-q", "-h", LOOPBACK, "-p", str(port)]
            assert wait_until(
                lambda: subprocess.run(ready, check=False, timeout=10).returncode == 0, START_SECONDS
            ), "PostgreSQL is not up"
            yield PostgresServer(port=port, process=process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(START_SECONDS)


def _children(pid: int) -> Sequence[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
