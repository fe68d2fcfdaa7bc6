"""Signing in: tokens that hold once, keys that change, and guessing that leads nowhere."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from accounts import sessions
from accounts.model import User
from accounts.passwords import Passwords
from shared.errors import DatabaseUnavailable
from tests.harness.customers import PASSWORD, SECRET, Accounts, accounts_at
from tests.harness.examples import TRACE


@pytest.fixture
async def accounts(tmp_path: Path) -> AsyncIterator[Accounts]:
    """A service with one customer."""
    async with accounts_at(f"sqlite:///{tmp_path}/accounts.db") as served:
        await served.register("ann")
        yield served


async def refresh(accounts: Accounts, token: str) -> tuple[int, str | None]:
    """Status and the next refresh token."""
    status, body = await accounts.ask("POST", "/tokens/refresh", {"refresh_token": token})
    return status, body.get("refresh_token")


async def test_a_client_of_oauth_signs_in_by_a_form(accounts: Accounts) -> None:
    """What else it sends is not looked at; by its address a customer signs in too."""
    form = {"grant_type": "password", "username": "ann@example.com", "password": PASSWORD, "scope": ""}
    async with accounts.session.post("/tokens", data=form) as answer:
        assert (answer.status, (await answer.json())["token_type"]) == (200, "bearer")


@pytest.mark.parametrize("body", ["username=ann&username=bob&password=x", "username=%ff&password=x", "\xff"])
async def test_a_form_that_could_be_read_in_two_ways_is_refused(accounts: Accounts, body: str) -> None:
    """As a body of JSON is."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with accounts.session.post("/tokens", data=body.encode("latin-1"), headers=headers) as answer:
        assert (answer.status, (await answer.json())["type"]) == (400, "/problems/malformed-form")


async def test_an_access_token_is_verified_by_what_the_keys_say(accounts: Accounts) -> None:
    """As the gateway does it, without asking accounts."""
    tokens = await accounts.sign_in("ann")
    _, keys = await accounts.ask("GET", "/.well-known/jwks.json")
    assert [(key["kty"], key["crv"], key["alg"], "d" in key) for key in keys["keys"]] == [
        ("OKP", "Ed25519", "Ed25519", False)
    ]
    read = jwt.decode(tokens["access_token"], KeySet.import_key_set(keys), algorithms=["Ed25519"])
    assert (read.header["alg"], read.header["typ"]) == ("Ed25519", "at+jwt")
    assert (read.claims["email"], read.claims["role"]) == ("ann@example.com", "customer")
    assert read.claims["exp"] - read.claims["iat"] == 900


async def test_a_wrong_name_and_a_wrong_password_are_told_apart_by_nobody(accounts: Accounts) -> None:
    """The same answer."""
    told = []
    for name in ("ann", "nobody", "nobody@example.com", "no mail@"):
        status, problem = await accounts.ask("POST", "/tokens", {"username": name, "password": "wrong"})
        told.append((status, problem["type"], problem["detail"]))
    assert set(told) == {(401, "/problems/unauthorized", "The name or the password is wrong.")}


async def test_guessing_is_slowed_by_name_and_by_address(accounts: Accounts) -> None:
    """Five failures; then neither another address nor the right password helps, for a while."""

    async def guess(name: str, address: str, word: str = "wrong") -> int:
        body = {"username": name, "password": word}
        headers = {"X-Forwarded-For": address}
        async with accounts.session.post("/tokens", json=body, headers=headers) as answer:
            return answer.status

    assert [await guess("ann", f"192.0.2.{number}") for number in range(7)] == [401] * 5 + [429] * 2
    assert await guess("ann", "192.0.2.9", PASSWORD) == 429
    assert [await guess(f"user{number}", "198.51.100.1") for number in range(7)] == [401] * 5 + [429] * 2


async def test_guessing_all_at_once_is_slowed_too(accounts: Accounts) -> None:
    """Whoever waits for a place is counted again when its turn comes."""
    body = {"username": "ann", "password": "wrong"}
    answers = await asyncio.gather(*(accounts.ask("POST", "/tokens", body) for _ in range(40)))
    assert sum(status == 401 for status, _ in answers) <= 6


async def test_a_refresh_token_holds_once(accounts: Accounts) -> None:
    """One that comes again is stolen, or was: the session ends for both who have it."""
    first = (await accounts.sign_in("ann"))["refresh_token"]
    _, second = await refresh(accounts, first)
    assert second is not None
    accounts.clock.goes_on(11)
    assert await refresh(accounts, first) == (401, None)
    assert await refresh(accounts, second) == (401, None)


async def test_an_answer_that_was_lost_is_given_again(accounts: Accounts) -> None:
    """For ten seconds: the same next token, which goes on."""
    first = (await accounts.sign_in("ann"))["refresh_token"]
    _, second = await refresh(accounts, first)
    accounts.clock.goes_on(9)
    assert await refresh(accounts, first) == (200, second)
    assert second is not None
    status, third = await refresh(accounts, second)
    assert status == 200
    assert third not in {first, second}
    assert await refresh(accounts, first) == (401, None)  # its answer was not lost


async def test_of_many_who_renew_at_once_all_get_the_same(accounts: Accounts) -> None:
    """Two tabs of one browser are no thieves."""
    first = (await accounts.sign_in("ann"))["refresh_token"]
    answers = await asyncio.gather(*(refresh(accounts, first) for _ in range(8)))
    assert len(set(answers)) == 1
    assert answers[0][0] == 200


async def test_a_session_ends_after_its_time(accounts: Accounts) -> None:
    """However often it was renewed."""
    token: str | None = (await accounts.sign_in("ann"))["refresh_token"]
    for _ in range(30):
        accounts.clock.goes_on(86_399)
        assert token is not None
        status, token = await refresh(accounts, token)
        assert status == 200
    accounts.clock.goes_on(86_399)
    assert token is not None
    assert await refresh(accounts, token) == (401, None)


async def test_who_signed_in_with_a_password_that_changed_meanwhile_is_not_signed_in(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new password ends every other session, those too that were about to begin."""
    ann = (await accounts.ask("GET", "/users?username=ann", token=await accounts.admin()))[1]["users"][0]
    match = Passwords.match

    async def change_meanwhile(self: Passwords, *arguments: Any, **further: Any) -> bool:
        is_right = await match(self, *arguments, **further)
        await accounts.users.change(ann["id"], TRACE, password_hash="that of another password")
        return is_right

    monkeypatch.setattr(Passwords, "match", change_meanwhile)
    status, problem = await accounts.ask("POST", "/tokens", {"username": "ann", "password": PASSWORD})
    assert (status, problem["detail"]) == (401, "The name or the password is wrong.")


async def test_a_password_that_is_hashed_anew_signs_in(accounts: Accounts, monkeypatch: Any) -> None:
    """With the new hash, which is kept from then on."""
    monkeypatch.setattr(Passwords, "is_outdated", lambda *_: True)
    await accounts.sign_in("ann")
    await accounts.sign_in("ann")


async def test_a_database_that_fails_in_the_midst_of_renewing_takes_no_token(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same token goes on once it is back, however much later."""
    first = (await accounts.sign_in("ann"))["refresh_token"]

    def fail(_: Any) -> User:
        raise DatabaseUnavailable("gone in between")

    with monkeypatch.context() as broken:
        broken.setattr(sessions, "user_of", fail)
        assert (await refresh(accounts, first))[0] == 503
    accounts.clock.goes_on(60)
    assert (await refresh(accounts, first))[0] == 200


async def test_who_signs_out_ends_this_session_alone(accounts: Accounts) -> None:
    """The other device goes on."""
    here, there = await accounts.sign_in("ann"), await accounts.sign_in("ann")
    assert await accounts.ask("DELETE", "/tokens", token=here["access_token"]) == (204, None)
    assert await refresh(accounts, here["refresh_token"]) == (401, None)
    assert (await refresh(accounts, there["refresh_token"]))[0] == 200


async def test_hashing_a_password_anew_never_brings_an_old_one_back(accounts: Accounts) -> None:
    """Its owner may have changed it while somebody signed in with the old one."""
    bea = await accounts.register("bea")
    await accounts.users.rehash(bea["id"], "the last hash", "another hash of the last password")
    await accounts.sign_in("bea")


async def test_a_rotation_signs_nobody_out(accounts: Accounts) -> None:
    """The last key verifies until its tokens have expired, and signs nothing any more."""
    tokens = await accounts.sign_in("ann")
    status, key = await accounts.ask("POST", "/operator/keys", token=await accounts.admin())
    assert status == 200
    assert (await accounts.ask("GET", "/users/me", token=tokens["access_token"]))[0] == 200
    assert (await refresh(accounts, tokens["refresh_token"]))[0] == 200
    _, keys = await accounts.ask("GET", "/.well-known/jwks.json")
    assert len(keys["keys"]) == 2
    newer = (await accounts.sign_in("ann"))["access_token"]
    assert jwt.decode(newer, KeySet.import_key_set(keys), algorithms=["Ed25519"]).header["kid"] == key["kid"]
    accounts.clock.goes_on(900 + 61)
    await accounts.keys.look()
    _, keys = await accounts.ask("GET", "/.well-known/jwks.json")
    assert [each["kid"] for each in keys["keys"]] == [key["kid"]]


async def test_the_operators_secret_is_compared_and_guessing_at_it_is_slowed(accounts: Accounts) -> None:
    """Whoever has it is an admin; nobody else is."""
    guesses = [await accounts.ask("POST", "/operator/tokens", {"secret": "guess"}) for _ in range(6)]
    assert [status for status, _ in guesses] == [401] * 5 + [429]
    status, _ = await accounts.ask("POST", "/operator/tokens", {"secret": SECRET})
    assert status == 429


async def test_an_invented_address_gives_no_more_guesses_at_the_operators_secret(accounts: Accounts) -> None:
    """Proxies of this machine are believed about clients, but nobody asks for the operator through one."""
    for number, right in enumerate([401] * 5 + [429]):
        headers, body = {"X-Forwarded-For": f"192.0.2.{number}"}, {"secret": "guess"}
        async with accounts.session.post("/operator/tokens", json=body, headers=headers) as answer:
            assert answer.status == right


async def test_without_a_secret_no_operator_gets_in(tmp_path: Path) -> None:
    """An empty one is none."""
    async with accounts_at(f"sqlite:///{tmp_path}/accounts.db", secret=None) as served:
        status, _ = await served.ask("POST", "/operator/tokens", {"secret": "None"})
        assert status == 403
