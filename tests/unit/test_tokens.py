"""Access tokens are verified here, by the keys of accounts, and remembered until they expire."""

import asyncio
import time
from typing import Any

import pytest
from joserfc.jwk import OKPKey

from shared.errors import ServiceUnavailable
from shared.http import keys as keys_module, tokens
from shared.http.keys import RemoteKeys
from shared.http.tokens import InvalidToken, TokenVerifier
from shared.service.lifecycle import running
from tests.harness.tokens import (
    ALICE,
    KEY,
    LIFETIME_SECONDS,
    MemoryKeys,
    a_key,
    claims,
    forged,
    signed,
    token,
)
from tests.harness.waiting import wait_until


class CountedKeys(MemoryKeys):
    """Keys that know how often they were asked for."""

    asked = 0

    async def find(self, key_id: str) -> OKPKey | None:
        """As the port has it."""
        self.asked += 1
        return await super().find(key_id)


class MemoryAccounts:
    """Accounts that give their keys from memory, or are away."""

    name = "accounts"

    def __init__(self, *keys: OKPKey) -> None:
        self.keys = list(keys)
        self.is_away = False
        self.asked = 0
        self.told: Any = None

    async def json(self, path: str, *, deadline_seconds: float | None = None) -> Any:
        """The key set, or what the test has it tell."""
        assert path == "/.well-known/jwks.json"
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise ServiceUnavailable("accounts", "it is away")
        if self.told is not None:
            return self.told
        return {"keys": [key.as_dict(private=False) for key in self.keys]}


class Clock:
    """Time that a test turns."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that may be asked for again at once."""
    monkeypatch.setattr(keys_module, "LEAST_PAUSE_SECONDS", 0.0)


async def test_a_good_token_says_whose_it_is() -> None:
    """And is looked up the second time."""
    keys = CountedKeys(KEY)
    verifier = TokenVerifier(keys)
    good = token(ALICE)
    assert verifier.known(good) is None
    assert await verifier.verify(good) == ALICE
    assert verifier.known(good) == ALICE
    assert keys.asked == 1


@pytest.mark.parametrize("kind", forged())
async def test_a_forged_token_is_refused_however_often(kind: str) -> None:
    """None of them is remembered as good."""
    verifier, bad = TokenVerifier(MemoryKeys(KEY)), forged()[kind]
    await verifier.verify(token(ALICE))
    for _ in range(2):
        with pytest.raises(InvalidToken):
            await verifier.verify(bad)
        assert verifier.known(bad) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"sub": None},
        {"sub": ""},
        {"sub": "a b"},
        {"sub": "*"},
        {"sub": 7},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": 1e300},
        {"role": None},
        {"role": "root"},
        {"role": ["admin"]},
        {"email": 7},
    ],
)
async def test_a_signature_does_not_make_up_for_what_is_missing(wrong: dict[str, Any]) -> None:
    """What is said must be all there, and of the right kind."""
    with pytest.raises(InvalidToken):
        await TokenVerifier(MemoryKeys(KEY)).verify(signed(claims(**wrong)))


@pytest.mark.parametrize(
    "odd", ["", ".", "..", "a.b.c", "é.é.é", "WyJhbGciXQ.e30.e30", "W10.W10.W10", "x" * 9_000]
)
async def test_text_that_is_no_token_is_told_so(odd: str) -> None:
    """Whatever it is, it is no fault of the server."""
    with pytest.raises(InvalidToken):
        await TokenVerifier(MemoryKeys(KEY)).verify(odd)


async def test_a_remembered_token_expires_like_any_other() -> None:
    """To the second."""
    clock = Clock()
    verifier, good = TokenVerifier(MemoryKeys(KEY), clock), token(ALICE)
    await verifier.verify(good)
    clock.now += LIFETIME_SECONDS + 1
    assert verifier.known(good) is None
    with pytest.raises(InvalidToken, match="expired"):
        await verifier.verify(good)


async def test_a_bounded_number_of_tokens_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was not used for longest makes room."""
    monkeypatch.setattr(tokens, "MOST_REMEMBERED", 2)
    verifier = TokenVerifier(MemoryKeys(KEY))
    first, second, third = (token(ALICE, age_seconds=age) for age in (1, 2, 3))
    for each in (first, second):
        await verifier.verify(each)
    assert verifier.known(first)
    await verifier.verify(third)
    assert verifier.known(first)
    assert verifier.known(second) is None


async def test_keys_are_kept_while_accounts_is_away(quick: None) -> None:
    """Tokens that they sign are good; whether others are cannot be known."""
    accounts = MemoryAccounts(KEY)
    verifier = TokenVerifier(RemoteKeys(accounts))
    await verifier.verify(token(ALICE))
    accounts.is_away = True
    assert await verifier.verify(token(ALICE, age_seconds=1)) == ALICE
    with pytest.raises(ServiceUnavailable, match="accounts"):
        await verifier.verify(token(ALICE, key=a_key("k2")))


async def test_before_accounts_was_ever_reached_no_token_can_be_judged() -> None:
    """It is no fault of the token."""
    accounts = MemoryAccounts(KEY)
    accounts.is_away = True
    with pytest.raises(ServiceUnavailable, match="accounts"):
        await TokenVerifier(RemoteKeys(accounts)).verify(token(ALICE))


async def test_accounts_is_asked_as_often_as_may_be_until_there_are_keys(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that starts before it would otherwise refuse every token for longer than it has to."""
    monkeypatch.setattr(keys_module, "ASKED_AGAIN_AFTER_SECONDS", 1_000.0)
    accounts = MemoryAccounts(KEY)
    accounts.is_away = True
    async with running(RemoteKeys(accounts).run()):
        await wait_until(lambda: accounts.asked > 2, what="asking again")


async def test_a_new_key_is_found_at_once(quick: None) -> None:
    """By the first token that names it; tokens of the key before stay good while accounts has it."""
    accounts = MemoryAccounts(KEY)
    verifier = TokenVerifier(RemoteKeys(accounts))
    old = token(ALICE)
    await verifier.verify(old)
    rotated = a_key("k2")
    accounts.keys.append(rotated)
    assert await verifier.verify(token(ALICE, key=rotated)) == ALICE
    assert verifier.known(old) == ALICE


async def test_what_a_key_signed_ends_with_it(quick: None) -> None:
    """Also what was remembered."""
    accounts = MemoryAccounts(KEY)
    keys = RemoteKeys(accounts)
    verifier, old = TokenVerifier(keys), token(ALICE)
    await verifier.verify(old)
    accounts.keys = [a_key("k2")]
    assert await keys.find("k2") is not None
    assert verifier.known(old) is None
    with pytest.raises(InvalidToken):
        await verifier.verify(old)


async def test_tokens_with_made_up_keys_ask_accounts_once_for_all() -> None:
    """And not again within a second, of which those wait out the rest that may be right."""
    accounts = MemoryAccounts(KEY)
    keys = RemoteKeys(accounts)
    assert await asyncio.gather(*(keys.find(f"made-up-{number}") for number in range(50))) == [None] * 50
    assert accounts.asked == 1
    waiting = asyncio.ensure_future(keys.find("made-up"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert accounts.asked == 1
    waiting.cancel()


async def test_an_answer_without_keys_takes_none_away(quick: None) -> None:
    """Keys of other kinds are passed over."""
    accounts = MemoryAccounts(KEY)
    keys = RemoteKeys(accounts)
    assert await keys.find("k1") is not None
    keyless: list[Any] = [
        {"keys": []},
        {"keys": [{"kty": "RSA"}, 7, {"crv": "Ed25519", "kid": "k3", "x": "?"}]},
        [],
        7,
    ]
    for odd in keyless:
        accounts.told = odd
        with pytest.raises(ServiceUnavailable):
            await keys.find("k3")
        assert await keys.find("k1") is not None
