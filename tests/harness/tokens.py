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


def bearer(caller: Caller, *, key: OKPKey = KEY) -> dict[str, str]:
    """The header that carries it."""
    return {"Authorization": f"Bearer {token(caller, key=key)}"}


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


def forged(key: OKPKey = KEY) -> Mapping[str, str]:
    """Tokens that would make an admin of who sends them, were they believed, by what is wrong with them."""
    public = key.as_dict(private=False)
    raw = base64.urlsafe_b64decode(str(public["x"]) + "=")
    head, body, signature = token(ADMIN, key=key).split(".")
    customer = token(ALICE, key=key).split(".")
    hs256 = {"alg": "HS256", "typ": TOKEN_TYPE, "kid": key.kid}
    secrets = {"the public key": raw, "the JWK": orjson.dumps(public)}
    return {
        "expired": token(ADMIN, key=key, age_seconds=LIFETIME_SECONDS + 60),
        "other key of the same id": token(ADMIN, key=a_key(str(key.kid))),
        "unknown key": token(ADMIN, key=a_key("k2")),
        "forged claims": ".".join((customer[0], body, customer[2])),
        "no signature": f"{head}.{body}.",
        "broken signature": f"{head}.{body}.{signature[:-6]}AAAAAA",
        "alg none": f"{_part({'alg': 'none', 'typ': TOKEN_TYPE, 'kid': key.kid})}.{body}.",
        **{
            f"HS256 with {name}": jwt.encode(hs256, claims(), OctKey.import_key(it), algorithms=["HS256"])
            for name, it in secrets.items()
        },
        "wrong type": signed(claims(), key, typ="JWT"),
        "not a token": "open sesame",
    }


def _part(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(value)).rstrip(b"=").decode()
