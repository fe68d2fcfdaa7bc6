"""Access tokens of every kind, good and bad, and the keys that tell them apart."""

import base64
import time
from collections.abc import Mapping
from typing import Any, Final

import orjson
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey

from shared.errors import ServiceUnavailable
from shared.http.auth import AuthMode, Caller, Role
from shared.http.guard import Guard
from shared.http.tokens import ALGORITHM, TOKEN_TYPE, TokenVerifier, sign

LIFETIME_SECONDS: Final = 900.0


def a_key(key_id: str) -> OKPKey:
    """A signing key of its own."""
    return OKPKey.generate_key(ALGORITHM, {"kid": key_id})


KEY: Final = a_key("k1")
OTHER_KEY: Final = a_key("k1")
"""Another party's, under the same id."""
ALICE: Final = Caller(id="alice", email="alice@example.com", role=Role.CUSTOMER)
BOB: Final = Caller(id="bob", email="bob@example.com", role=Role.CUSTOMER)
OPERATOR: Final = Caller(id="olga", email="olga@example.com", role=Role.OPERATOR)
ADMIN: Final = Caller(id="ada", email="ada@example.com", role=Role.ADMIN)


class MemoryKeys:
    """Keys in a dictionary; ``is_away`` says that accounts cannot be asked about others."""

    def __init__(self, *keys: OKPKey) -> None:
        self.keys = {str(key.kid): key for key in keys}
        self.generation = 0
        self.is_away = False

    async def find(self, key_id: str) -> OKPKey | None:
        """As the port has it."""
        if key_id not in self.keys and self.is_away:
            raise ServiceUnavailable("accounts", "it is away")
        return self.keys.get(key_id)


def a_guard(mode: AuthMode = AuthMode.OPTIONAL) -> Guard:
    """A guard that knows the one key."""
    return Guard(mode, TokenVerifier(MemoryKeys(KEY)))


def token(caller: Caller, *, key: OKPKey = KEY, age_seconds: float = 0.0) -> str:
    """A token of this caller, as accounts makes them."""
    return sign(key, caller, now=time.time() - age_seconds, lifetime_seconds=LIFETIME_SECONDS)


def bearer(caller: Caller) -> dict[str, str]:
    """The header that carries it."""
    return {"Authorization": f"Bearer {token(caller)}"}


def claims(caller: Caller = ADMIN, **other: Any) -> dict[str, Any]:
    """What a token says, with some of it changed; None leaves a claim out."""
    said = {"sub": caller.id, "email": caller.email, "role": caller.role, "exp": int(time.time()) + 900}
    return {name: value for name, value in (said | other).items() if value is not None}


def signed(said: Mapping[str, Any], key: OKPKey = KEY, **header: Any) -> str:
    """A token that says anything, signed rightly."""
    return jwt.encode(
        {"alg": ALGORITHM, "typ": TOKEN_TYPE, "kid": key.kid, **header},
        dict(said),
        key,
        algorithms=[ALGORITHM],
    )


def forged() -> Mapping[str, str]:
    """Tokens that would make an admin of who sends them, were they believed, by what is wrong with them."""
    public = orjson.dumps(KEY.as_dict(private=False))
    raw = base64.urlsafe_b64decode(str(KEY.as_dict(private=False)["x"]) + "=")
    head, body, signature = token(ADMIN).split(".")
    customer = token(ALICE).split(".")
    hs256 = {"alg": "HS256", "typ": TOKEN_TYPE, "kid": KEY.kid}
    return {
        "expired": token(ADMIN, age_seconds=LIFETIME_SECONDS + 60),
        "other key": token(ADMIN, key=OTHER_KEY),
        "unknown key": token(ADMIN, key=a_key("k2")),
        "forged claims": ".".join((customer[0], body, customer[2])),
        "no signature": f"{head}.{body}.",
        "broken signature": f"{head}.{body}.{signature[:-6]}AAAAAA",
        "alg none": f"{_part({'alg': 'none', 'typ': TOKEN_TYPE, 'kid': KEY.kid})}.{body}.",
        "HS256 with the public key": jwt.encode(
            hs256, claims(), OctKey.import_key(raw), algorithms=["HS256"]
        ),
        "HS256 with the JWK": jwt.encode(hs256, claims(), OctKey.import_key(public), algorithms=["HS256"]),
        "wrong type": signed(claims(), typ="JWT"),
        "not a token": "open sesame",
    }


def _part(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()
