"""A real mail server on loopback, which keeps what it takes and misbehaves when it is told to.

Here notifications are counted at the receiving end, whatever our own records say.
"""

import asyncio
import contextlib
import email
import re
import ssl
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from email.policy import SMTPUTF8
from typing import Any, Final, Literal

from aiosmtpd.smtp import SMTP, Envelope, Session

LOOPBACK: Final = "127.0.0.1"
TAKEN: Final = "250 OK"

_MESSAGE_ID: Final = re.compile(rb"^Message-ID:\s*<([^@>]*)@", re.IGNORECASE | re.MULTILINE)

Stage = Literal["CONNECT", "EHLO", "MAIL", "RCPT", "DATA command", "DATA"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One e-mail that was taken, as it was received."""

    sender: str
    recipient: str
    content: bytes
    encrypted: bool
    login: str | None

    @property
    def message(self) -> EmailMessage:
        """The content, parsed."""
        return email.message_from_bytes(self.content, EmailMessage, policy=SMTPUTF8)

    @property
    def text(self) -> str:
        """What its reader sees, without pictures."""
        body = self.message.get_body(("plain",))
        assert body is not None, "a letter without text"
        return str(body.get_content())

    @property
    def event_id(self) -> str:
        """The event that the ``Message-ID`` was derived from."""
        found = _MESSAGE_ID.search(self.content)
        assert found, "a letter without Message-ID"
        return found[1].decode().replace("=2E", ".").replace("/", ":")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What the sink does at a stage instead of going on: answer so, or hang, or hang up. Or it goes on late.

    With ``recipient`` it concerns that one alone, with ``times`` only so many. A letter is ``kept`` if it was
    taken though nobody said so. It goes on late after a delay, or once ``until`` is set.
    """

    at: Stage
    answer: str = ""
    delay_seconds: float = 0.0
    until: asyncio.Event | None = None
    hang: bool = False
    hang_up: bool = False
    recipient: str | None = None
    kept: bool = False
    times: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """What the sink asks of clients before it talks about mail, and what it can."""

    tls_context: ssl.SSLContext | None = None
    implicit: bool = False
    login: tuple[str, str] | None = None
    smtputf8: bool = True


class SmtpSink:
    """The server; ``letters`` holds what it has taken, in order."""

    def __init__(self, security: Security) -> None:
        self.letters: list[Letter] = []
        self.connections = 0
        self.goodbyes = 0
        self.hanging = 0
        self.port = 0
        self._security = security
        self._faults: list[Fault] = []
        self._happened: Counter[Fault] = Counter()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.BaseTransport] = set()

    @property
    def told(self) -> Counter[str]:
        """How many letters were taken about each event, by event id."""
        return Counter(letter.event_id for letter in self.letters)

    @property
    def open_connections(self) -> int:
        """Clients that are connected now."""
        return len(self._open)

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[None]:
        """Misbehaves for the block."""
        self._faults.append(fault)
        try:
            yield
        finally:
            self._faults.remove(fault)

    async def open(self) -> None:
        """Listens, on the same port as before if there was one."""
        implicit = self._security.tls_context if self._security.implicit else None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._meet, LOOPBACK, self.port, ssl=implicit)
        self.port = self._server.sockets[0].getsockname()[1]

    def _meet(self) -> "_Conversation":
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "Requiring AUTH"
            )  # it does not see TLS that was there before it
            return _Conversation(self)

    async def shut(self) -> None:
        """Listens no more and drops every connection, as a machine that dies does."""
        if self._server is not None:
            self._server.close()
            self.drop()
            await self._server.wait_closed()
            self._server = None

    def drop(self) -> None:
        """Drops every connection and goes on listening."""
        for transport in tuple(self._open):
            transport.close()

    async def reacts(self, stage: Stage, conversation: SMTP, *, to: str | None = None) -> str | None:
        """The answer of the first fault that applies; hangs or hangs up itself. None where all is well."""
        for fault in self._faults:
            spent = fault.times is not None and self._happened[fault] >= fault.times
            if fault.at == stage and fault.recipient in (None, to) and not spent:
                self._happened[fault] += 1
                if fault.kept and conversation.envelope is not None:
                    self._take(conversation)
                if fault.delay_seconds or fault.until is not None:
                    await asyncio.sleep(fault.delay_seconds)
                    if fault.until is not None:
                        await fault.until.wait()
                    if fault.kept:
                        return fault.answer or TAKEN
                    if fault.answer:
                        return fault.answer
                    continue
                if fault.hang:
                    self.hanging += 1
                    await asyncio.Event().wait()
                if fault.hang_up and conversation.transport is not None:
                    conversation.transport.close()
                return fault.answer or "451 4.0.0 never read"
        return None

    async def handle_MAIL(  # noqa: N802 - the names of the hooks are aiosmtpd's
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """A transaction begins."""
        if answer := await self.reacts("MAIL", server):
            return answer
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return TAKEN

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """A recipient is named."""
        if answer := await self.reacts("RCPT", server, to=address):
            return answer
        envelope.rcpt_tos.append(address)
        return TAKEN

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """A letter is complete."""
        if answer := await self.reacts("DATA", server, to=envelope.rcpt_tos[0]):
            return answer
        self._take(server)
        return TAKEN

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """A client leaves as it should."""
        self.goodbyes += 1
        return "221 Bye"

    def _take(self, conversation: SMTP) -> None:
        envelope, session = conversation.envelope, conversation.session
        assert envelope is not None
        assert session is not None
        assert isinstance(envelope.original_content, bytes)
        self.letters.append(
            Letter(
                sender=envelope.mail_from or "",
                recipient=envelope.rcpt_tos[0],
                content=envelope.original_content,
                encrypted=self._security.implicit or session.ssl is not None,
                login=_login_of(session.auth_data),
            )
        )

    def settings(self) -> dict[str, Any]:
        """What a conversation is set up with."""
        security = self._security
        login = tuple(part.encode() for part in security.login) if security.login else None
        return {
            "hostname": "sink.test",
            "enable_SMTPUTF8": security.smtputf8,
            "tls_context": None if security.implicit else security.tls_context,
            "require_starttls": not security.implicit,
            "auth_required": login is not None,
            "auth_require_tls": not security.implicit,
            "auth_callback": lambda _, name, password: (name, password) == login,
        }

    def met(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self.connections += 1
        self._open.add(transport)

    def parted(self, transport: asyncio.BaseTransport | None) -> None:
        """A client is gone."""
        if transport is not None:
            self._open.discard(transport)


class _Conversation(SMTP):
    """One client's session, which may go wrong from the greeting on."""

    def __init__(self, sink: SmtpSink) -> None:
        super().__init__(sink, **sink.settings())
        self._sink = sink
        self._met: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._met is None:  # it is made once more by STARTTLS
            self._met = transport
            self._sink.met(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._sink.parted(self._met)
        super().connection_lost(error)

    async def smtp_EHLO(self, hostname: str) -> None:  # noqa: N802 - the names are aiosmtpd's
        if await self._sink.reacts("EHLO", self) is None:
            await super().smtp_EHLO(hostname)

    async def smtp_DATA(self, argument: str) -> None:  # noqa: N802
        to = self.envelope.rcpt_tos[0] if self.envelope and self.envelope.rcpt_tos else None
        answer = await self._sink.reacts("DATA command", self, to=to)
        if answer is None:
            await super().smtp_DATA(argument)
        else:
            await self.push(answer)

    async def _handle_client(self) -> None:
        answer = await self._sink.reacts("CONNECT", self)
        if answer is None:
            await super()._handle_client()
        elif self.transport is not None and not self.transport.is_closing():
            await self.push(answer)
            self.transport.close()


def _login_of(auth_data: Any) -> str | None:
    return auth_data.login.decode() if auth_data else None


@asynccontextmanager
async def smtp_sink(security: Security | None = None) -> AsyncIterator[SmtpSink]:
    """A sink on a port of its own, shut after the block."""
    sink = SmtpSink(security or Security())
    await sink.open()
    try:
        yield sink
    finally:
        with contextlib.suppress(ConnectionError):
            await sink.shut()
