"""PostgreSQL as native mode runs it: whom it lets in, and how it comes back."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import asyncpg  # type: ignore[import-untyped]  # no types of its own
import psutil
import pytest

from orderctl.native.postgres import url_of
from shared.services import DATABASE, SERVICES
from tests.harness.databases import PostgresServer

NAMES = ("notifier", "order_processor")


@pytest.fixture(scope="module")
def server(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """With a database for two services; it runs before and after each test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in NAMES:
            patch.setitem(SERVICES, name, replace(SERVICES[name], needs=SERVICES[name].needs | {DATABASE}))
        postgres.settle()
        yield postgres


def test_it_runs_as_nobody_who_may_do_anything(server: PostgresServer) -> None:
    """It is no root's process, its log is the data folder's, and it listens on loopback alone."""
    process = psutil.Process(server.record.pid)
    assert process.name() == "postgres"
    assert 0 not in process.uids()
    listening = {each.laddr for each in process.net_connections("all") if each.status == psutil.CONN_LISTEN}
    assert listening == {("127.0.0.1", server.port)}
    assert "ready to accept connections" in server.layout.log("postgres").read_text(encoding="utf-8")


async def test_a_service_enters_its_own_database_and_no_other(server: PostgresServer) -> None:
    """Nor does anybody without the password, or a service the operator's."""
    own = server.url("notifier")
    connection = await asyncpg.connect(own)
    try:
        await connection.execute("CREATE TABLE tried (one integer)")
    finally:
        await connection.close()
    base = own.rpartition("/")[0]
    for url in (f"{base}/order_processor", f"{base}/postgres", f"{base}/template1"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(url)
    for password in ("", "guessed", "notifier"):
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(url_of("notifier", password, server.port))


async def test_what_was_committed_is_there_after_a_kill(server: PostgresServer) -> None:
    """Also where its children are left behind, as by whoever kills its process alone."""
    connection = await asyncpg.connect(server.url("notifier"))
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS seven")
    os.kill(server.record.pid, signal.SIGKILL)
    connection.terminate()
    server.start()
    connection = await asyncpg.connect(server.url("notifier"))
    assert await connection.fetchval("SELECT seven FROM kept") == 7
    await connection.close()


async def test_it_stops_although_clients_are_connected(server: PostgresServer) -> None:
    """They are sent away; a data folder whose making was interrupted is made anew, a whole one is kept."""
    connection = await asyncpg.connect(server.url("notifier"))
    (server.layout.part("postgres") / "data.new").mkdir()
    server.stop()
    connection.terminate()
    server.start()
    connection = await asyncpg.connect(server.url("notifier"))
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


def test_no_password_is_in_its_log(server: PostgresServer) -> None:
    """Whoever reads logs is not let into databases by them."""
    log = server.layout.log("postgres").read_text(encoding="utf-8")
    for login in (*NAMES, "postgres"):
        password = server.url(login).partition(f"{login}:")[2].partition("@")[0]
        assert password
        assert password not in log
