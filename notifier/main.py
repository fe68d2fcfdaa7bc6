"""Builds the notifier from its adapters."""

from datetime import UTC, datetime
from typing import Final

from notifier.domain import TOLD
from notifier.handlers import NotificationHandler
from notifier.ports import Sender
from notifier.quota import RedisLetterQuota
from notifier.senders.addressed import AddressedSender
from notifier.senders.log import LogSender
from notifier.senders.mail import LetterWriter
from notifier.senders.smtp import SmtpSender
from notifier.senders.smtp_connections import MailServer, SmtpConnections
from notifier.settings import NotifierSettings
from notifier.store import RedisNotificationStore
from notifier.unconfirmed import UnconfirmedLetters
from shared.mailboxes import named_mailbox
from shared.pipeline import NOTIFIER
from shared.service.worker import UseCases, Worker, consumer


def use_cases(worker: Worker[NotifierSettings]) -> UseCases:
    """Notifies each customer of each event."""
    own = worker.own
    connections = _connections(own) if own.sender == "smtp" else None
    store = RedisNotificationStore(
        worker.redis,
        timeout_seconds=own.store_timeout_seconds,
        lease_seconds=own.lease_seconds,
        confirm_seconds=own.confirm_timeout_seconds,
        retention_seconds=worker.common.order_retention_seconds,
    )
    unconfirmed = UnconfirmedLetters(store, limit=own.unconfirmed_at_once)
    handler = NotificationHandler(
        store=store,
        sender=LogSender() if connections is None else _mail_sender(own, connections),
        unconfirmed=unconfirmed,
        lease_seconds=own.lease_seconds,
        answer_seconds=own.send_timeout_seconds,
        quota=None
        if connections is None
        else RedisLetterQuota(
            worker.redis, per_hour=own.letters_per_hour, timeout_seconds=own.store_timeout_seconds
        ),
        sends_at_once=own.sends_at_once,
    )
    return UseCases(
        handlers=dict.fromkeys(TOLD, handler),
        failures=store,
        jobs=() if connections is None else (connections.run, unconfirmed.run),
        checks={} if connections is None else {"smtp": connections.unready_reason},
    )


def _connections(own: NotifierSettings) -> SmtpConnections:
    server = MailServer(
        host=own.smtp_host,
        port=own.smtp_port,
        tls=own.smtp_tls,
        ca_file=own.smtp_ca_file,
        username=own.smtp_username,
        password=own.smtp_password.get_secret_value(),
        step_seconds=own.send_timeout_seconds,
    )
    return SmtpConnections(server, sender=named_mailbox(own.mail_from), kept=own.sends_at_once)


def _mail_sender(own: NotifierSettings, connections: SmtpConnections) -> Sender:
    writer = LetterWriter(named_mailbox(own.mail_from), lambda: datetime.now(UTC))
    mail = SmtpSender(connections, writer, confirm_seconds=own.confirm_timeout_seconds)
    return AddressedSender(mail, otherwise=LogSender())


PROGRAM: Final = consumer(NOTIFIER, NotifierSettings, use_cases)
