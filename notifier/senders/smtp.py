"""The sender that hands e-mail to a mail server, and what the server's answers mean for the message."""

import asyncio
from typing import Final

from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from notifier.domain import Notification
from notifier.ports import HandedOver, OutcomeUnknown
from notifier.senders.mail import LetterWriter
from notifier.senders.smtp_connections import SmtpConnections, begin_data, finish_data, said
from shared.errors import PermanentError, PipelineError, RetryableError
from shared.mailboxes import Mailbox, mailbox

CLOSING: Final = 421
LOGIN_CODES: Final = frozenset({530, 534, 535, 538})
"""Answers that ask for another login, for any recipient alike (RFC 4954)."""


class SmtpSender:
    """Sends one e-mail per notification. Each concurrent send takes a connection of its own.

    A server that shuts the door in mid-message is asked once more on another connection: if it then takes a
    transaction, that one message was at fault and waits alone, else all letters wait. After the final dot it
    has ``confirm_seconds`` to say what became of the letter.
    """

    def __init__(
        self, connections: SmtpConnections, letters: LetterWriter, *, confirm_seconds: float
    ) -> None:
        self._connections = connections
        self._letters = letters
        self._confirm_seconds = confirm_seconds

    def channel_for(self, notification: Notification) -> str:
        return "smtp"

    async def send(self, notification: Notification) -> HandedOver:
        recipient = _recipient(notification)
        letter = self._letters.write(notification, recipient)
        connection = await self._connections.begin(utf8=recipient.needs_utf8)
        try:
            await connection.rcpt(recipient.address, encoding="utf-8")
            await begin_data(connection)
        except SMTPResponseException as error:
            raise await self._refused(connection, error) from error
        except (SMTPException, OSError) as error:
            connection.close()
            await self._connections.prove()
            raise RetryableError(f"the mail server hung up: {said(error)}") from error
        except BaseException:  # a cancellation in mid-transaction leaves a connection that cannot be used
            connection.close()
            raise
        answer = asyncio.ensure_future(self._finish(connection, letter.as_bytes()))
        return HandedOver(message_id=letter["Message-ID"], answer=answer)

    async def flush(self) -> None:
        """Letters are handed over one by one."""

    async def _finish(self, connection: SMTP, content: bytes) -> None:
        """Sends the letter with its final dot. From then on only an answer says what became of it."""
        try:
            await finish_data(connection, content, timeout_seconds=self._confirm_seconds)
        except SMTPResponseException as error:
            if not 400 <= error.code < 600:
                connection.close()
                raise OutcomeUnknown(said(error)) from error
            raise await self._refused(connection, error, is_over=True) from error
        except (SMTPException, OSError) as error:
            connection.close()
            raise OutcomeUnknown(f"no answer after the letter: {said(error)}") from error
        except BaseException:
            connection.close()
            raise
        self._connections.keep(connection)

    async def _refused(
        self, connection: SMTP, error: SMTPResponseException, *, is_over: bool = False
    ) -> PipelineError:
        """What the server's answer to one message means; ``is_over`` says that its transaction has ended."""
        text = said(error)
        if error.code == CLOSING:
            connection.close()
            if not is_over:
                await self._connections.prove()
            return RetryableError(text)
        if is_over:
            self._connections.keep(connection)
        else:
            await self._connections.reset(connection)
        if error.code in LOGIN_CODES:
            return self._connections.away(text)
        return PermanentError(text) if 500 <= error.code < 600 else RetryableError(text)


def _recipient(notification: Notification) -> Mailbox:
    if notification.recipient is None:
        raise PermanentError("the order has no e-mail address")
    try:
        return mailbox(notification.recipient)
    except ValueError as error:
        raise PermanentError(str(error)) from error
