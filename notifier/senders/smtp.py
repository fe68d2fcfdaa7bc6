"""The sender that hands e-mail to a mail server, and what the server's answers mean for the message."""

from typing import Final

from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from notifier.domain import Notification
from notifier.senders.mail import Letters
from notifier.senders.smtp_connections import SmtpConnections, said
from shared.errors import PermanentError, PipelineError, RetryableError
from shared.mailboxes import Mailbox, mailbox

CLOSING: Final = 421
LOGIN_CODES: Final = frozenset({530, 534, 535, 538})
"""Answers that say who we are is not enough, whoever the recipient (RFC 4954)."""


class SmtpSender:
    """Sends one e-mail per notification. Each concurrent send takes a connection of its own.

    A server that shuts the door in mid-message is asked once more on another connection: if it then takes a
    transaction, that one message was at fault and waits alone, else everybody waits.
    """

    def __init__(self, connections: SmtpConnections, letters: Letters) -> None:
        self._connections = connections
        self._letters = letters

    def channel_for(self, notification: Notification) -> str:
        """See the port."""
        return "smtp"

    async def send(self, notification: Notification) -> None:
        """See the port."""
        recipient = _recipient(notification)
        letter = self._letters.write(notification, recipient).as_bytes()
        connection = await self._connections.begin(utf8=recipient.needs_utf8)
        try:
            await _hand_over(connection, recipient, letter)
        except SMTPResponseException as error:
            raise await self._refused(connection, error) from error
        except (SMTPException, OSError) as error:
            connection.close()
            await self._connections.prove()
            raise RetryableError(f"the mail server hung up: {said(error)}") from error
        except BaseException:  # a deadline in mid-transaction leaves a connection that nobody can use
            connection.close()
            raise
        self._connections.keep(connection)

    async def _refused(self, connection: SMTP, error: SMTPResponseException) -> PipelineError:
        """What the server's answer to one message means."""
        text = said(error)
        if error.code == CLOSING:
            connection.close()
            await self._connections.prove()
            return RetryableError(text)
        await self._connections.reset(connection)
        if error.code in LOGIN_CODES:
            return self._connections.away(text)
        return PermanentError(text) if 500 <= error.code < 600 else RetryableError(text)


async def _hand_over(connection: SMTP, recipient: Mailbox, letter: bytes) -> None:
    await connection.rcpt(recipient.address, encoding="utf-8")
    await connection.data(letter)


def _recipient(notification: Notification) -> Mailbox:
    if notification.recipient is None:
        raise PermanentError("the order has no e-mail address")
    try:
        return mailbox(notification.recipient)
    except ValueError as error:
        raise PermanentError(str(error)) from error
