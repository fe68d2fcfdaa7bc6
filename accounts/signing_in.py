"""Signing in: a name and a password become a session, at a pace that makes guessing hopeless."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from accounts.keys import SigningKeys
from accounts.model import Credentials, User, name_key
from accounts.passwords import Passwords
from accounts.sessions import Refusal, Session, SessionStore
from accounts.store import UserStore
from shared.http.attempts import FailedAttempts
from shared.http.auth import Caller
from shared.http.problems import UNAUTHORIZED, Problem
from shared.http.sparing import SparingLog
from shared.http.tokens import sign
from shared.logs import get_logger
from shared.messages import Trace

WRONG: Final = "The name or the password is wrong."
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="order-pipeline"'}

log = get_logger(__name__)
noise = SparingLog(log)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a session gives its owner."""

    access_token: str
    refresh_token: str
    seconds: float


class SigningIn:
    """Begins, renews and ends sessions. Every method raises DatabaseUnavailable, and Problem."""

    def __init__(
        self,
        users: UserStore,
        sessions: SessionStore,
        passwords: Passwords,
        keys: SigningKeys,
        *,
        token_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._passwords = passwords
        self._keys = keys
        self._token_seconds = token_seconds
        self._clock = clock
        self._by_address = FailedAttempts()
        self._by_account = FailedAttempts()

    async def sign_in(self, name: str, password: str, client: str, trace: Trace) -> Tokens:
        """The tokens of a new session. An unknown name takes as long as a wrong password."""
        found = await self._users.credentials_of(name)
        account = name_key(name) if found is None else found.user.id
        if not await self.knows(found, password, account, client) or found is None:
            noise.warning("sign-in failed", client=client, user=None if found is None else found.user.id)
            raise refused(WRONG)
        kept = found.password_hash
        if self._passwords.is_outdated(kept):
            kept = await self._passwords.hash(password, client)
            await self._users.rehash(found.user.id, found.password_hash, kept)
        session = await self._sessions.begin(found.user.id, kept)
        if session is None:
            raise refused(WRONG)
        await self._users.signed_in(found.user, trace)
        log.info("signed in", user=found.user.id, client=client)
        return self._tokens(found.user, session)

    async def knows(self, found: Credentials | None, password: str, account: str, client: str) -> bool:
        """Whether the password is right. Failures count for the account and for the client, and slow both."""
        account = _shortened(account)

        def check() -> None:
            self._by_address.check(client)
            self._by_account.check(account)

        check()
        kept = None if found is None else found.password_hash
        if await self._passwords.match(password, kept, client, before=check):
            return True
        self._by_address.failed(client, "password")
        self._by_account.count(account)
        return False

    async def renew(self, refresh_token: str, client: str) -> Tokens:
        """The next tokens of a session."""
        renewed = await self._sessions.renew(refresh_token)
        if isinstance(renewed, Refusal):
            if renewed is Refusal.REUSED:
                log.warning("audit", action="session ended: its refresh token came twice", client=client)
            raise refused("The refresh token does not hold. Sign in again: POST /tokens.")
        session, user = renewed
        return self._tokens(user, session)

    async def sign_out(self, caller: Caller) -> None:
        """Ends the session of an access token."""
        if caller.session is not None:
            await self._sessions.end(caller.session)
        log.info("signed out", user=caller.id)

    def _tokens(self, user: User, session: Session) -> Tokens:
        caller = Caller(id=user.id, email=user.email, role=user.role, session=session.id)
        return Tokens(
            access_token=self.access_token(caller),
            refresh_token=session.refresh_token,
            seconds=self._token_seconds,
        )

    def access_token(self, caller: Caller) -> str:
        """A token that says who its bearer is, for a while."""
        return sign(self._keys.signing, caller, now=self._clock(), lifetime_seconds=self._token_seconds)


def refused(detail: str) -> Problem:
    """The problem of a proof that does not hold."""
    return Problem(UNAUTHORIZED, detail, headers=_CHALLENGE)


def _shortened(account: str) -> str:
    """What stands for an account whose failures are counted, however long the name is that was tried."""
    return hashlib.sha256(account.encode("utf-8", "surrogatepass")).hexdigest()
