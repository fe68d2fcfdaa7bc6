"""One PostgreSQL: the databases of the services that have one, each with a login of its own.

It refuses to run as root, so where we are root it runs as an unprivileged user. That user need not be let
into the folders above: the server reaches its own through a descriptor that it inherits. Clients come over
loopback and say a password. There is no socket in the file system: its path may have 107 bytes, and a data
folder's is longer at times.
"""

import contextlib
import os
import pwd
import shutil
import socket
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import psutil

from orderctl.errors import OrderctlError, PartFailedError
from orderctl.native import packages, processes
from orderctl.native.layout import Layout
from orderctl.native.ports import LOOPBACK, POSTGRES
from orderctl.native.processes import ProcessRecord
from orderctl.native.secrets import Secrets
from orderctl.programs import output_of, succeeds
from shared.services import DATABASE, SERVICES

OPERATOR: Final = "postgres"
PROGRAM: Final = "postgres"
USERS: Final = ("postgres", "nobody")
"""Whom root hands the server to: the packages' own user, or who has nothing."""
LOGIN_SCRIPT: Final = Path(__file__).with_name("login.sql")
MAKE_SECONDS: Final = 120.0
ORPHANS_SECONDS: Final = 10.0
_ENVIRONMENT: Final = {"PATH": os.defpath, "LANG": "C.UTF-8"}
_SETTINGS: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_wal_size": "256MB",
}


def services_with_database() -> tuple[str, ...]:
    """The services that have a database, which is called as they are."""
    return tuple(service.name for service in SERVICES.values() if DATABASE in service.needs)


def url(layout: Layout, port: int, login: str = OPERATOR) -> str:
    """Where a login finds its database, password included if it was made already."""
    password = Secrets(layout).get(_secret(login))
    return url_of(login, password, port)


def url_of(login: str, password: str | None, port: int) -> str:
    """The database has the name of its login."""
    credentials = f"{login}:{password}" if password else login
    return f"postgresql://{credentials}@{LOOPBACK}:{port}/{login}"


def start(layout: Layout, port: int) -> ProcessRecord:
    """Start the server, on data that is made if there is none; raises OrderctlError."""
    layout.part(POSTGRES).mkdir(mode=0o700, exist_ok=True)
    Secrets(layout).ensure([_secret(OPERATOR)])
    end_orphans(layout)
    with _place(layout) as place:
        if not _data(layout).exists():
            _make(layout, place)
        settings = {"port": str(port), **_SETTINGS}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return processes.spawn(
            layout,
            POSTGRES,
            [*place.lead, _program(layout, PROGRAM), "-D", f"{place.path}/data", *words],
            environment=_ENVIRONMENT,
            cwd=Path("/"),  # it looks back at the folder that it came from, which must be open to it
            descriptors=place.descriptors,
        )


def ready(port: int, timeout_seconds: float = 1.0) -> bool:
    """True once the server takes log-ins: it answers one with a question, and no longer with an error."""
    body = struct.pack("!I", 196_608) + f"user\0{OPERATOR}\0database\0{OPERATOR}\0\0".encode()
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout_seconds) as connection:
            connection.sendall(struct.pack("!I", len(body) + 4) + body)
            return connection.recv(4_096).startswith(b"R")
    except OSError:
        return False


def grant(layout: Layout, port: int) -> None:
    """Give each service that has a database its login to it; raises PartFailedError."""
    Secrets(layout).ensure(map(_secret, services_with_database()))
    for service in services_with_database():
        login = {"LOGIN_NAME": service, "LOGIN_PASSWORD": Secrets(layout).get(_secret(service)) or ""}
        psql(layout, port, "--file", str(LOGIN_SCRIPT), environment=login)


def psql(
    layout: Layout,
    port: int,
    *words: str,
    database: str = OPERATOR,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """What psql prints when the operator runs it so; raises PartFailedError with what it says."""
    password = Secrets(layout).get(_secret(OPERATOR)) or ""
    where = ("--host", LOOPBACK, "--port", str(port), "--username", OPERATOR, "--dbname", database)
    return output_of(
        [_program(layout, "psql"), "--no-psqlrc", "--quiet", *where, *words],
        seconds=MAKE_SECONDS,
        environment={**_ENVIRONMENT, "PGPASSWORD": password, **environment},
        called="psql",
    )


def end_orphans(layout: Layout) -> None:
    """End what a killed server has left: children that miss it in a while, and keep its data until then.

    Its mark on the data goes too: the next server would take a number that was given again, or a zombie where
    nobody buries any, for the one before. Raises PartFailedError.
    """
    orphans = [process for process in psutil.process_iter() if _works_in(process, _data(layout))]
    for process in orphans:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _, alive = psutil.wait_procs(orphans, ORPHANS_SECONDS)
    if alive:
        raise PartFailedError(f"{POSTGRES}: process {alive[0].pid} does not end", log=layout.log(POSTGRES))
    (_data(layout) / "postmaster.pid").unlink(missing_ok=True)


# --- inside ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """How the server's programs reach its folder: `lead` is what they are started through."""

    path: str
    lead: Sequence[str] = ()
    descriptors: Sequence[int] = ()
    owner: tuple[int, int] | None = None


@contextmanager
def _place(layout: Layout) -> Iterator[_Place]:
    folder = layout.part(POSTGRES)
    if os.geteuid() != 0:
        yield _Place(str(folder))
        return
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise OrderctlError("PostgreSQL refuses root, and setpriv is not installed", advice="be another user")
    user = _user()
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fchown(descriptor, user.pw_uid, user.pw_gid)
        yield _Place(
            f"/proc/self/fd/{descriptor}",
            (setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"),
            (descriptor,),
            (user.pw_uid, user.pw_gid),
        )
    finally:
        os.close(descriptor)


def _user() -> pwd.struct_passwd:
    for name in USERS:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise OrderctlError(f"PostgreSQL refuses root, and there is no user {' or '.join(USERS)}")


def _make(layout: Layout, place: _Place) -> None:
    """Elsewhere first: what was interrupted is begun anew."""
    folder = layout.part(POSTGRES)
    shutil.rmtree(folder / "data.new", ignore_errors=True)
    password = folder / "password"
    password.touch(mode=0o600)
    password.write_text(Secrets(layout).get(_secret(OPERATOR)) or "", encoding="ascii")
    if place.owner:
        os.chown(password, *place.owner)
    made = succeeds(
        [
            *(*place.lead, _program(layout, "initdb"), "-D", f"{place.path}/data.new"),
            *("--username", OPERATOR, "--pwfile", f"{place.path}/password", "--auth", "scram-sha-256"),
            *("--encoding", "UTF8", "--locale", "C.UTF-8", "--data-checksums", "--no-instructions"),
        ],
        layout.log(POSTGRES),
        seconds=MAKE_SECONDS,
        environment=_ENVIRONMENT,
        folder=Path("/"),
        descriptors=place.descriptors,
    )
    password.unlink()
    if not made:
        raise PartFailedError(f"{POSTGRES}: its data could not be made", log=layout.log(POSTGRES))
    (folder / "data.new").rename(_data(layout))


def _program(layout: Layout, name: str) -> str:
    """Data are of one major version, and so are the programs that open them."""
    version = _data(layout) / "PG_VERSION"
    return str(packages.postgres_program(name, int(version.read_text()) if version.exists() else None))


def _data(layout: Layout) -> Path:
    return layout.part(POSTGRES) / "data"


def _secret(login: str) -> str:
    return f"{POSTGRES}.{login}"


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.name() == PROGRAM and process.cwd() == str(folder)
    except (psutil.Error, OSError):
        return False
