"""Connections to one mail server: opened when needed, used again for a while, and the proof of an outage.

Until the server has taken the MAIL command nothing is known to it of any recipient, so what goes wrong by
then would go wrong for every one: SenderUnavailable. What happens later is judged by the sender.
"""

import asyncio
import contextlib
import re
import ssl
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from aiosmtplib import SMTP, SMTPException, SMTPResponseException, SMTPServerDisconnected
from aiosmtplib.typing import SMTPStatus

from shared.errors import PermanentError, SenderUnavailable
from shared.logs import get_logger
from shared.mailboxes import Mailbox

IDLE_SECONDS: Final = 20.0
"""An unused connection is closed after this long, before servers or firewalls between do so unasked."""
GOODBYE_SECONDS: Final = 1.0
_LEADING_DOT: Final = re.compile(rb"^\.", re.MULTILINE)

Tls = Literal["starttls", "if_offered", "implicit", "off"]

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where mail is handed in. ``ca_file`` names the authorities to trust instead of the system's.

    ``step_seconds`` is how long it may take over each answer but the one to a whole letter.
    """

    host: str
    port: int
    tls: Tls
    ca_file: Path | None = None
    username: str = ""
    password: str = field(default="", repr=False)
    step_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class _Idle:
    connection: SMTP
    since: float


class SmtpConnections:
    """Hands out connections with a transaction begun from ``sender``; keeps at most ``kept`` for later."""

    def __init__(
        self, server: MailServer, *, sender: Mailbox, kept: int, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._server = server
        self._sender = sender
        self._kept = kept
        self._idle_seconds = idle_seconds
        self._tls_context = _tls_context(server)
        self._idle: deque[_Idle] = deque()
        self._outage: str | None = None

    def unready_reason(self) -> str | None:
        """Why the server took no transaction when it was last asked, or None."""
        return self._outage

    async def run(self) -> None:
        """Says goodbye on connections that are not used any more, and on all of them in the end."""
        try:
            while True:
                await asyncio.sleep(self._idle_seconds / 4)
                await self._leave(self._expired())
        finally:
            await self._leave([idle.connection for idle in self._idle])
            self._idle.clear()

    async def begin(self, *, utf8: bool = False) -> SMTP:
        """A connection on which the server has taken the MAIL command, to be kept or closed afterwards.

        Raises SenderUnavailable, and PermanentError if the recipient needs SMTPUTF8 and the server lacks it.
        """
        try:
            connection = await self._begun_again(utf8) or await self._begun_anew(utf8)
        except TimeoutError as error:
            while self._idle:
                self._idle.pop().connection.close()
            raise self.away(f"no answer within {self._server.step_seconds:g} s") from error
        except (SMTPException, OSError) as error:
            raise self.away(said(error)) from error
        self._outage = None
        return connection

    async def prove(self) -> None:
        """Returns if the server takes transactions. Raises SenderUnavailable if it does not."""
        await self.reset(await self.begin())

    def keep(self, connection: SMTP) -> None:
        """Takes back a connection whose transaction is over. It never waits: the letter has been taken."""
        if len(self._idle) < self._kept:
            self._idle.append(_Idle(connection, time.monotonic()))
        else:
            connection.close()

    async def reset(self, connection: SMTP) -> None:
        """Takes back a connection in the middle of its transaction."""
        try:
            async with asyncio.timeout(GOODBYE_SECONDS):
                await connection.rset()
        except (SMTPException, OSError):
            connection.close()
        except asyncio.CancelledError:
            connection.close()
            raise
        else:
            self.keep(connection)

    def away(self, reason: str) -> SenderUnavailable:
        """The error that says so, noted for the readiness report."""
        self._outage = f"{self._server.host}:{self._server.port}: {reason}"
        return SenderUnavailable(f"mail server {self._outage}")

    async def _begun_again(self, utf8: bool) -> SMTP | None:
        """A kept connection, if one still works. What the others say is no proof of anything."""
        while self._idle:
            connection = self._idle.pop().connection
            if not connection.is_connected:
                continue
            try:
                return await self._begun(connection, utf8)
            except TimeoutError:
                raise
            except (SMTPException, OSError) as error:
                log.debug("mail connection went stale", reason=said(error))
        return None

    async def _begun_anew(self, utf8: bool) -> SMTP:
        server = self._server
        connection = SMTP(
            hostname=server.host,
            port=server.port,
            local_hostname=self._sender.domain,
            username=server.username or None,
            password=server.password if server.username else None,
            use_tls=server.tls == "implicit",
            start_tls={"starttls": True, "if_offered": None}.get(server.tls, False),
            tls_context=self._tls_context,
            timeout=server.step_seconds,
        )
        await connection.connect()
        return await self._begun(connection, utf8)

    async def _begun(self, connection: SMTP, utf8: bool) -> SMTP:
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(connection.close)
            if connection.is_ehlo_or_helo_needed:
                await connection.ehlo()
            if utf8 and not connection.supports_extension("smtputf8"):
                raise PermanentError("the mail server takes no addresses beyond ASCII")
            await connection.mail(self._sender.address, options=["SMTPUTF8"] if utf8 else [])
            on_failure.pop_all()
        return connection

    def _expired(self) -> list[SMTP]:
        oldest = time.monotonic() - self._idle_seconds
        expired = []
        while self._idle and self._idle[0].since < oldest:
            expired.append(self._idle.popleft().connection)
        return expired

    async def _leave(self, connections: Sequence[SMTP]) -> None:
        await asyncio.gather(*(_goodbye(connection) for connection in connections))


async def _goodbye(connection: SMTP) -> None:
    with contextlib.suppress(SMTPException, OSError):
        async with asyncio.timeout(GOODBYE_SECONDS):
            await connection.quit()
    connection.close()


async def begin_data(connection: SMTP) -> None:
    """Asks to send a letter. Raises SMTPResponseException where the server does not go along."""
    response = await connection.execute_command(b"DATA")
    if response.code != SMTPStatus.start_input:
        raise SMTPResponseException(response.code, response.message)


async def finish_data(connection: SMTP, content: bytes, *, timeout_seconds: float) -> None:
    """Sends the letter, whose lines end with CRLF, with its final dot, and waits for the answer.

    The library's own ``data`` does not tell what failed before the dot from what failed after it. Where the
    connection was lost before anything was sent the letter counts as unknown too.
    """
    protocol = connection.protocol
    if protocol is None:
        raise SMTPServerDisconnected("connection lost")
    protocol.write(_LEADING_DOT.sub(b"..", content) + b".\r\n")
    response = await protocol.read_response(timeout=timeout_seconds)
    if response.code != SMTPStatus.completed:
        raise SMTPResponseException(response.code, response.message)


def said(error: Exception) -> str:
    """An error of the mail library in one line, the server's answer with its code included."""
    text = " ".join(str(part) for part in error.args) or type(error).__name__
    return " ".join(text.split())


def _tls_context(server: MailServer) -> ssl.SSLContext | None:
    if server.tls == "off":
        return None
    context = ssl.create_default_context(cafile=server.ca_file)
    if server.tls == "if_offered":
        # An attacker who could show a false certificate could as well hide the offer: checking adds nothing.
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
