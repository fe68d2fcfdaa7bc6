"""Accounts: who registers, who may see whom, and what is never told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import text
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from accounts import signing_in
from accounts.weak_passwords import is_common
from shared.customers.routes import customer_table
from shared.http.rates import REGISTERING, SIGNING_IN
from shared.http.sparing import SparingLog
from tests.harness.customers import PASSWORD, Accounts, accounts_at


async def unasked(_: web.Request) -> web.Response:
    """The handler of a route that is looked at alone."""
    raise NotImplementedError


@pytest.fixture
async def accounts(tmp_path: Path) -> AsyncIterator[Accounts]:
    """A service without users."""
    async with accounts_at(f"sqlite:///{tmp_path}/accounts.db") as served:
        yield served


async def test_a_customer_registers_signs_in_and_sees_itself(accounts: Accounts) -> None:
    """The way of everybody; what it is answered holds no password."""
    registered = await accounts.register("ann")
    assert registered["role"] == "customer"
    assert registered.keys() == {"id", "username", "email", "role", "created_at"}
    tokens = await accounts.sign_in("ANN")
    assert tokens["token_type"] == "bearer"
    assert tokens["expires_in"] == 900
    assert await accounts.ask("GET", "/users/me", token=tokens["access_token"]) == (200, registered)


@pytest.mark.parametrize(
    ("other", "field"),
    [
        ({"username": "ANN", "email": "other@example.com"}, "username"),
        ({"username": "other", "email": "Ann@EXAMPLE.com"}, "email"),
    ],
)
async def test_names_and_addresses_are_had_once(
    accounts: Accounts, other: dict[str, str], field: str
) -> None:
    """Whatever their case."""
    await accounts.register("ann")
    status, problem = await accounts.ask("POST", "/users", {**other, "password": PASSWORD})
    assert (status, problem["type"], problem["field"]) == (409, "/problems/name-taken", field)


async def test_of_two_who_want_a_name_at_once_one_gets_it(accounts: Accounts) -> None:
    """The database decides, not a look beforehand."""
    bodies = [
        {"username": "ann", "email": f"ann{number}@example.com", "password": PASSWORD} for number in range(5)
    ]
    answers = await asyncio.gather(*(accounts.ask("POST", "/users", body) for body in bodies))
    assert sorted(status for status, _ in answers) == [201, 409, 409, 409, 409]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"password": "too short"}, "password"),
        ({"password": "Password1234"}, "password"),
        ({"password": "ann-1234567", "username": "ann"}, "password"),
        ({"username": "ann smith"}, "username"),
        ({"email": "nowhere"}, "email"),
        ({"role": "admin"}, "role"),
        ({"password": 1234567890}, "password"),
    ],
)
async def test_what_nobody_may_register_with_is_named(
    accounts: Accounts, change: dict[str, str], field: str
) -> None:
    """The field is told, what stood in it is not; a role is no field at all."""
    body = {"username": "ann", "email": "ann@example.com", "password": PASSWORD, **change}
    status, problem = await accounts.ask("POST", "/users", body)
    assert (status, [fault["field"] for fault in problem["errors"]]) == (422, [field])
    assert str(change.get("password", PASSWORD)) not in str(problem)


@pytest.mark.parametrize(
    "password",
    [
        "password1234",
        "P@ssw0rd123",
        "1q2w3e4r5t6y",
        "aaaaaaaaaaaa",
        "Summer2024!!",
        "qwerty123456",
        "letmein2024!",
    ],
)
def test_common_passwords_are_known_in_their_disguises(password: str) -> None:
    """They are what guessing tries first."""
    assert is_common(password)


@pytest.mark.parametrize(
    "password", ["correct horse battery", "kjdf78sdf9a", "MyDogAteMyHomework", "4839201748"]
)
def test_other_passwords_are_nobodys_business(password: str) -> None:
    """A rule that refuses what it does not understand drives people to worse ones."""
    assert not is_common(password)


def test_what_costs_a_hash_has_a_rate_of_its_own() -> None:
    """Where tokens are required, by address, and before a body is read."""
    rated = {each.name: each.rate for each in customer_table(lambda _: unasked) if each.rate}
    assert rated == {"registerUser": REGISTERING, "signIn": SIGNING_IN}


async def test_only_admins_see_others(accounts: Accounts) -> None:
    """A customer's token opens its own account alone."""
    ann = await accounts.register("ann")
    token = (await accounts.sign_in("ann"))["access_token"]
    for method, path in [
        ("GET", "/users"),
        ("GET", "/users/stats"),
        ("GET", f"/users/{ann['id']}"),
        ("PATCH", f"/users/{ann['id']}"),
        ("DELETE", f"/users/{ann['id']}"),
        ("POST", "/operator/keys"),
    ]:
        status, _ = await accounts.ask(method, path, token=token)
        assert status == 403, (method, path)
        status, _ = await accounts.ask(method, path)
        assert status == 401, (method, path)


async def test_users_are_counted_by_role(accounts: Accounts) -> None:
    """For statistics; it names nobody."""
    await accounts.register("ann")
    await accounts.register("bob")
    token = await accounts.admin()
    assert await accounts.ask("GET", "/users/stats", token=token) == (200, {"users": {"customer": 2}})


async def test_an_admin_pages_through_users_newest_first(accounts: Accounts) -> None:
    """Each user once, and the next page begins where the last one ended."""
    names = [f"user{number}" for number in range(5)]
    for name in names:
        await accounts.register(name)
    token, seen, cursor = await accounts.admin(), [], ""
    while True:
        _, page = await accounts.ask("GET", f"/users?limit=2{cursor}", token=token)
        seen += [user["username"] for user in page["users"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == names[::-1]
    _, found = await accounts.ask("GET", "/users?username=USER3", token=token)
    assert [user["username"] for user in found["users"]] == ["user3"]


async def test_who_is_no_admin_any_more_cannot_become_one_again(accounts: Accounts) -> None:
    """Though its token says so for a while: accounts looks at what it is now."""
    operator = await accounts.admin()
    ada = await accounts.register("ada")
    path = f"/users/{ada['id']}"
    await accounts.ask("PATCH", path, {"role": "admin"}, operator)
    token = (await accounts.sign_in("ada"))["access_token"]
    assert (await accounts.ask("GET", path, token=token))[0] == 200
    await accounts.ask("PATCH", path, {"role": "customer"}, operator)
    assert (await accounts.ask("PATCH", path, {"role": "admin"}, token))[0] == 403
    assert (await accounts.ask("POST", "/operator/keys", token=token))[0] == 403
    assert (await accounts.ask("GET", "/users/me", token=token))[1]["role"] == "customer"
    await accounts.ask("DELETE", path, token=operator)
    assert (await accounts.ask("GET", "/users", token=token))[0] == 403


async def test_an_admin_gives_roles(accounts: Accounts) -> None:
    """The next token says it."""
    ann = await accounts.register("ann")
    token = await accounts.admin()
    status, changed = await accounts.ask("PATCH", f"/users/{ann['id']}", {"role": "operator"}, token)
    assert (status, changed["role"]) == (200, "operator")
    status, problem = await accounts.ask("PATCH", f"/users/{ann['id']}", {"role": "king"}, token)
    assert (status, problem["errors"][0]["field"]) == (422, "role")


async def test_a_new_password_takes_the_old_one_and_ends_other_sessions(accounts: Accounts) -> None:
    """Who has stolen a session loses it; who changed the password goes on."""
    await accounts.register("ann")
    here, elsewhere = await accounts.sign_in("ann"), await accounts.sign_in("ann")
    change = {"password": "another long walk"}
    token = here["access_token"]
    status, problem = await accounts.ask("PATCH", "/users/me", change, token)
    assert (status, problem["errors"][0]["field"]) == (422, "current_password")
    status, _ = await accounts.ask("PATCH", "/users/me", {**change, "current_password": "wrong"}, token)
    assert status == 403
    status, _ = await accounts.ask("PATCH", "/users/me", {**change, "current_password": PASSWORD}, token)
    assert status == 200
    for tokens, expected in [(here, 200), (elsewhere, 401)]:
        body = {"refresh_token": tokens["refresh_token"]}
        assert (await accounts.ask("POST", "/tokens/refresh", body))[0] == expected
    await accounts.sign_in("ann", "another long walk")


async def test_a_password_is_not_changed_where_its_thief_stays_signed_in(accounts: Accounts) -> None:
    """Asked again after an error, the change still knows the old password, and ends the sessions."""
    ann = await accounts.register("ann")
    token = (await accounts.sign_in("ann"))["access_token"]
    await accounts.database.transaction(lambda connection: connection.execute(text("DROP TABLE sessions")))
    change = {"password": "another long walk", "current_password": PASSWORD}
    before = await accounts.users.credentials(ann["id"])
    assert (await accounts.ask("PATCH", "/users/me", change, token))[0] == 503
    assert await accounts.users.credentials(ann["id"]) == before


async def test_changing_a_password_again_and_again_takes_nobody_elses_turn(accounts: Accounts) -> None:
    """Each change costs two hashes: five a minute are what an account may ask for."""
    await accounts.register("ann")
    token = (await accounts.sign_in("ann"))["access_token"]
    same = {"password": PASSWORD, "current_password": PASSWORD}
    changes = [await accounts.ask("PATCH", "/users/me", same, token) for _ in range(6)]
    assert [status for status, _ in changes] == [200] * 5 + [429]
    assert changes[-1][1]["type"] == "/problems/too-many-requests"
    assert (await accounts.ask("PATCH", "/users/me", {"email": "ann@example.org"}, token))[0] == 200
    await accounts.sign_in("ann")


async def test_logs_say_what_was_done_and_by_whom_by_ids_alone(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither names nor addresses nor passwords, of those who exist or of what was tried."""
    monkeypatch.setattr(signing_in, "noise", SparingLog(signing_in.log))  # others' tests leave lines out
    with capture_logs(processors=[merge_contextvars]) as lines:
        ann = await accounts.register("ann-smith")
        token = (await accounts.sign_in("ann-smith"))["access_token"]
        for name in ("ann-smith", "nobody-here", "ann-smith@example.com"):
            await accounts.ask("POST", "/tokens", {"username": name, "password": "wrong-guess"})
        await accounts.ask(
            "POST", "/users", {"username": "ann-smith", "email": "x", "password": "wrong-guess"}
        )
        change = {"password": "another long walk", "current_password": PASSWORD}
        await accounts.ask("PATCH", "/users/me", change, token)
        await accounts.ask("DELETE", "/users/me", token=token)
    told = str(lines)
    assert [line["action"] for line in lines if line["event"] == "audit"] == [
        "user registered",
        "user changed",
        "user removed",
    ]
    assert {"signed in", "sign-in failed"} <= {line["event"] for line in lines}
    assert ann["id"] in told
    assert not [
        word for word in ("ann-smith", "example.com", "nobody", "walk", "wrong-guess") if word in told
    ]


async def test_who_removes_its_account_is_gone(accounts: Accounts) -> None:
    """Its sessions too, and its name is free."""
    await accounts.register("ann")
    tokens = await accounts.sign_in("ann")
    assert await accounts.ask("DELETE", "/users/me", token=tokens["access_token"]) == (204, None)
    status, _ = await accounts.ask("GET", "/users/me", token=tokens["access_token"])
    assert status == 404
    status, _ = await accounts.ask("POST", "/tokens/refresh", {"refresh_token": tokens["refresh_token"]})
    assert status == 401
    await accounts.register("ann")
