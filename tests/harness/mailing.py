"""Notifications on their way into a sink."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from notifier.domain import Notification, notification_of
from notifier.senders.mail import LetterWriter
from notifier.senders.smtp import SmtpSender
from notifier.senders.smtp_connections import MailServer, SmtpConnections
from shared.mailboxes import Mailbox, named_mailbox
from tests.harness.examples import an_order, created
from tests.harness.smtp_sink import LOOPBACK, SmtpSink

MAIL_FROM = named_mailbox("The Shop <orders@shop.example>")
WROTE_AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
CONNECTIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailing:
    """A sender and the connections under it."""

    sender: SmtpSender
    connections: SmtpConnections


def letters(mail_from: Mailbox = MAIL_FROM) -> LetterWriter:
    """LetterWriter that are all written at the same instant."""
    return LetterWriter(mail_from, lambda: WROTE_AT)


def mailing_to(
    sink: SmtpSink, *, idle_seconds: float = 60.0, confirm_seconds: float = 60.0, **server: Any
) -> Mailing:
    """A sender that hands its letters to the sink, without TLS unless ``server`` says so."""
    plain = MailServer(host=LOOPBACK, port=sink.port, tls="off", step_seconds=5.0)
    connections = SmtpConnections(
        replace(plain, **server), sender=MAIL_FROM, kept=CONNECTIONS, idle_seconds=idle_seconds
    )
    sender = SmtpSender(connections, letters(), confirm_seconds=confirm_seconds)
    return Mailing(sender=sender, connections=connections)


async def handed_in(mailing: Mailing, notification: Notification) -> None:
    """Sends a letter and waits for the answer to it. Raises as both do."""
    await (await mailing.sender.send(notification)).answer


def told(order_id: str = "order1", email: str | None = "ann@example.org") -> Notification:
    """The notification that an order is confirmed."""
    return notification_of(created(an_order(order_id, email=email)))
