"""SQL databases for tests: SQLite in a folder, and a PostgreSQL of the test run's own."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from orderctl.native import packages, postgres, processes, stores
from orderctl.native.layout import Layout
from orderctl.native.ports import POSTGRES
from orderctl.native.processes import ProcessRecord
from tests.harness.stores import free_port

START_SECONDS = 30.0


def can_run_postgres() -> bool:
    """Whether this machine has the server's programs."""
    return bool(packages.postgres_folders())


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A PostgreSQL that only this test run knows, set up as ``orderctl`` does."""

    layout: Layout
    port: int

    @property
    def record(self) -> ProcessRecord:
        """Its process."""
        record = processes.running(self.layout, POSTGRES)
        assert record is not None, "PostgreSQL does not run"
        return record

    def start(self) -> None:
        """Returns once everybody who has a login may use it."""
        stores.start(self.layout, POSTGRES, self.port)
        assert processes.wait_until(lambda: stores.ready(self.layout, POSTGRES, self.port), START_SECONDS)
        self.settle()

    def settle(self) -> None:
        """Makes the logins of the services that have a database now."""
        stores.grant(self.layout, POSTGRES, self.port)

    def stop(self) -> None:
        """Gracefully, whoever is connected."""
        assert processes.terminate(self.record, START_SECONDS, stores.STOP_SIGNALS[POSTGRES])

    def url(self, login: str) -> str:
        """Where a login of the server's own has its database."""
        return postgres.url(self.layout, self.port, login)

    def new_database(self, name: str) -> str:
        """Makes an empty database, and says where its operator finds it."""
        self.ask(postgres.OPERATOR, f'DROP DATABASE IF EXISTS "{name}"')
        self.ask(postgres.OPERATOR, f'CREATE DATABASE "{name}"')
        return self._operators(name)

    def ask(self, database: str, statement: str) -> str:
        """What psql prints for a statement, past every client under test."""
        words = ("--no-align", "--tuples-only", "--command", statement)
        return postgres.psql(self.layout, self.port, *words, database=database).strip()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stops every process of it for the block; connections stay open."""
        self._signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(signal.SIGCONT)

    def _operators(self, database: str) -> str:
        return f"{self.url(postgres.OPERATOR).rpartition('/')[0]}/{database}"

    def _signal(self, number: signal.Signals) -> None:
        pid = self.record.pid
        for each in (pid, *(child.pid for child in psutil.Process(pid).children())):
            os.kill(each, number)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Runs one on a port and in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="orders-sql-", ignore_cleanup_errors=True) as folder:
        layout = Layout(Path(folder))
        layout.create()
        server = PostgresServer(layout, free_port())
        try:
            server.start()
            yield server
        finally:
            if processes.running(layout, POSTGRES):
                server.stop()
            processes.reap()
