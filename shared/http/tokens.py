"""Access tokens: JWTs signed with Ed25519, made by accounts and verified wherever they come in.

Verifying one takes 130 us, so that those which were are kept until they expire: a look into a dictionary.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from shared.errors import PipelineError
from shared.http.auth import Caller, Role
from shared.messages import is_identifier

ALGORITHM: Final = "Ed25519"
"""The only one. What a token's own header asks for is compared with it and never obeyed."""
TOKEN_TYPE: Final = "at+jwt"  # noqa: S105 - RFC 9068's name for access tokens
LONGEST_TOKEN: Final = 2_048
MOST_REMEMBERED: Final = 10_000

_ROLES: Final = tuple(Role)


class InvalidToken(PipelineError):
    """Raised when a token is no access token of this system, or not any more."""


class TokenKeys(Protocol):
    """The public keys of accounts, by the id that a token names."""

    @property
    def generation(self) -> int:
        """Another number whenever a key has gone."""

    async def find(self, key_id: str) -> OKPKey | None:
        """The key, or None where there is none. Raises ServiceUnavailable where that cannot be known."""


def sign(key: OKPKey, caller: Caller, *, now: float, lifetime_seconds: float) -> str:
    """An access token for a caller. ``now`` is in seconds since the epoch; the key has an id."""
    header = {"alg": ALGORITHM, "typ": TOKEN_TYPE, "kid": key.kid}
    claims = {
        "sub": caller.id,
        "email": caller.email,
        "role": caller.role,
        "sid": caller.session,
        "iat": int(now),
        "exp": int(now + lifetime_seconds),
    }
    return jwt.encode(header, claims, key, algorithms=[ALGORITHM])


class TokenVerifier:
    """Tells whose a token is."""

    def __init__(self, keys: TokenKeys, clock: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._clock = clock
        self._generation = keys.generation
        self._verified: OrderedDict[str, tuple[float, Caller]] = OrderedDict()

    def known(self, token: str) -> Caller | None:
        """Whose it is, where it has been verified before and holds still."""
        found = self._verified.get(token)
        if found is None or found[0] <= self._clock() or self._generation != self._keys.generation:
            return None
        self._verified.move_to_end(token)
        return found[1]

    async def verify(self, token: str) -> Caller:
        """Whose it is. Raises InvalidToken, and ServiceUnavailable where its key cannot be had."""
        if self._generation != self._keys.generation:  # what was signed with a key that is gone ends with it
            self._verified.clear()
            self._generation = self._keys.generation
        self._verified.pop(token, None)
        key = await self._keys.find(_key_id(token))
        if key is None:
            raise InvalidToken("signed with a key that accounts does not have")
        expires, caller = _read(_claims(token, key), self._clock())
        if len(self._verified) >= MOST_REMEMBERED:
            self._verified.popitem(last=False)
        self._verified[token] = expires, caller
        return caller


def _key_id(token: str) -> str:
    """The id of the key, from the header of a token that has the right form."""
    if len(token) > LONGEST_TOKEN or not token.isascii():
        raise InvalidToken("not an access token")
    try:
        header: Any = jws.extract_compact(token.encode("ascii")).protected
    except (JoseError, ValueError) as error:
        raise InvalidToken("not an access token") from error
    if not isinstance(header, dict):
        raise InvalidToken("not an access token")
    if header.get("alg") != ALGORITHM or header.get("typ") != TOKEN_TYPE:
        raise InvalidToken("of another kind than access tokens are")
    key_id = header.get("kid")
    if not isinstance(key_id, str):
        raise InvalidToken("names no key")
    return key_id


def _claims(token: str, key: OKPKey) -> Mapping[str, Any]:
    try:
        return jwt.decode(token, key, algorithms=[ALGORITHM]).claims
    except (JoseError, ValueError) as error:
        raise InvalidToken("the signature is not right") from error


def _read(claims: Mapping[str, Any], now: float) -> tuple[float, Caller]:
    """When it expires, and whose it is."""
    expires, subject, email = claims.get("exp"), claims.get("sub"), claims.get("email")
    if not isinstance(expires, int) or not isinstance(subject, str) or not is_identifier(subject):
        raise InvalidToken("does not say whose it is, or until when")
    if expires <= now:
        raise InvalidToken("expired")
    session = claims.get("sid")
    optional = isinstance(email, str | None) and isinstance(session, str | None)
    if claims.get("role") not in _ROLES or not optional:
        raise InvalidToken("does not say what it allows")
    return expires, Caller(id=subject, email=email, role=Role(claims["role"]), session=session)
