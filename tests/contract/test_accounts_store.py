"""What accounts keeps in SQL, on both databases: made once, had once, renewed once, whoever asks at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection

from accounts.tables import METADATA
from shared.http.listing import cursor_text
from tests.harness.customers import PASSWORD, Accounts, accounts_at
from tests.harness.databases import PostgresServer
from tests.harness.waiting import wait_until


@pytest.fixture
async def accounts(database_url: str) -> AsyncIterator[Accounts]:
    """A service without users."""
    async with accounts_at(database_url) as served:
        yield served


async def test_the_migrations_make_the_tables_that_the_code_means(accounts: Accounts) -> None:
    """Columns, what must be there, what must be unique, and indexes."""

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), METADATA))

    async def compare(connection: AsyncConnection) -> list[Any]:
        return await connection.run_sync(differences)

    assert await accounts.database.transaction(compare) == []


async def test_replicas_that_start_together_agree_on_one_key(database_url: str) -> None:
    """And each verifies what the other has signed, after a rotation too."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(accounts_at(database_url))
        other = await stack.enter_async_context(accounts_at(database_url))
        await asyncio.gather(one.keys.look(), other.keys.look())
        assert [key["kid"] for key in one.keys.public()] == [key["kid"] for key in other.keys.public()]
        await asyncio.gather(one.keys.rotate("one"), other.keys.rotate("other"))
        await asyncio.gather(one.keys.look(), other.keys.look())
        assert one.keys.signing.kid == other.keys.signing.kid
        await one.register("ann")
        tokens = await one.sign_in("ann")
        assert (await other.ask("GET", "/users/me", token=tokens["access_token"]))[0] == 200


async def test_names_are_had_once_and_sessions_renewed_once(accounts: Accounts) -> None:
    """Whatever comes at the same moment."""
    body = {"username": "ann", "password": PASSWORD}
    registered = await asyncio.gather(
        *(accounts.ask("POST", "/users", {**body, "email": f"ann{n}@example.com"}) for n in range(4))
    )
    assert sorted(status for status, _ in registered) == [201, 409, 409, 409]
    first = {"refresh_token": (await accounts.sign_in("ann"))["refresh_token"]}
    renewed = await asyncio.gather(*(accounts.ask("POST", "/tokens/refresh", first) for _ in range(6)))
    assert {status for status, _ in renewed} == {200}
    assert len({tokens["refresh_token"] for _, tokens in renewed}) == 1


@pytest.mark.parametrize("name", ["ann\0", "\0@example.com", "ann@example.com\0"])
async def test_a_name_that_no_database_keeps_is_nobodys(accounts: Accounts, name: str) -> None:
    """PostgreSQL takes no zero characters, which is no outage."""
    body = {"username": name, "password": PASSWORD}
    assert (await accounts.ask("POST", "/tokens", body))[0] == 401
    token = await accounts.admin()
    for method, change in (("GET", None), ("PATCH", {"role": "operator"}), ("DELETE", None)):
        assert (await accounts.ask(method, "/users/a%00", change, token))[0] == 404
    for query in ("username=a%00", f"cursor={cursor_text(chr(0) * 36)}"):
        assert (await accounts.ask("GET", f"/users?{query}", token=token))[0] == 400


async def test_users_are_paged_changed_and_forgotten(accounts: Accounts) -> None:
    """With their sessions, and with times as they were kept."""
    users = [await accounts.register(name) for name in ("ann", "bob", "cid")]
    token = await accounts.admin()
    _, page = await accounts.ask("GET", "/users?limit=2", token=token)
    assert page["users"] == users[:0:-1]
    tokens = await accounts.sign_in("bob")
    status, problem = await accounts.ask(
        "PATCH", "/users/me", {"email": "ANN@example.com"}, tokens["access_token"]
    )
    assert (status, problem["field"]) == (409, "email")
    assert (await accounts.ask("DELETE", f"/users/{users[1]['id']}", token=token))[0] == 204
    refresh = {"refresh_token": tokens["refresh_token"]}
    assert (await accounts.ask("POST", "/tokens/refresh", refresh))[0] == 401


async def test_a_frozen_database_is_named_in_time_and_keys_are_told_all_the_same(
    postgres: PostgresServer,
) -> None:
    """Tokens are verified meanwhile, and log-ins go on once it runs again."""
    async with accounts_at(postgres.new_database("accounts"), deadline_seconds=1.0) as accounts:
        await until_it_works(accounts)
        body = {"username": "ann", "password": PASSWORD}
        with postgres.frozen():
            async with asyncio.timeout(10):
                status, problem = await accounts.ask("POST", "/tokens", body)
            assert (status, problem["type"]) == (503, "/problems/database-unavailable")
            status, keys = await accounts.ask("GET", "/.well-known/jwks.json")
            assert (status, len(keys["keys"])) == (200, 1)
        await wait_until(lambda: signs_in(accounts), what="log-ins go on")


async def until_it_works(accounts: Accounts) -> None:
    """Registers, however slow the machine is: with a short deadline that may take some attempts."""
    body = {"username": "ann", "email": "ann@example.com", "password": PASSWORD}

    async def is_registered() -> bool:
        return (await accounts.ask("POST", "/users", body))[0] in {201, 409}

    await wait_until(is_registered, what="a customer has registered")


async def signs_in(accounts: Accounts) -> bool:
    """Whether that is possible."""
    return (await accounts.ask("POST", "/tokens", {"username": "ann", "password": PASSWORD}))[0] == 200
