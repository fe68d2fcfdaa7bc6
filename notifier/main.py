"""Builds the notifier from its adapters."""

import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from notifier.handlers import NotificationHandler
from notifier.ports import Sender
from notifier.senders.addressed import AddressedSender
from notifier.senders.log import LogSender
from notifier.senders.mail import Letters
from notifier.senders.smtp import SmtpSender
from notifier.senders.smtp_connections import MailServer, SmtpConnections
from notifier.settings import NotifierSettings
from notifier.store import RedisNotificationStore
from shared.health import Check
from shared.mailboxes import named_mailbox
from shared.messages import OrderCreated, OrderRejected
from shared.pipeline import NOTIFIER
from shared.service.worker import UseCases, Worker, consumer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """The way to the customers, and what runs and is checked because of it."""

    sender: Sender
    jobs: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)


def use_cases(worker: Worker[NotifierSettings]) -> UseCases:
    """Notifies each customer of each event."""
    own = worker.own
    way = _mail(own) if own.sender == "smtp" else _Way(sender=LogSender())
    store = RedisNotificationStore(
        worker.redis,
        timeout_seconds=own.store_timeout_seconds,
        lease_seconds=own.lease_seconds,
        retention_seconds=worker.common.order_retention_seconds,
    )
    handler = NotificationHandler(
        store=store,
        sender=way.sender,
        send_timeout_seconds=own.send_timeout_seconds,
        random_=random.Random(),
        sends_at_once=own.sends_at_once,
    )
    return UseCases(
        handlers={OrderCreated: handler, OrderRejected: handler},
        failures=store,
        jobs=way.jobs,
        checks=way.checks,
    )


def _mail(own: NotifierSettings) -> _Way:
    server = MailServer(
        host=own.smtp_host,
        port=own.smtp_port,
        tls=own.smtp_tls,
        ca_file=own.smtp_ca_file,
        username=own.smtp_username,
        password=own.smtp_password.get_secret_value(),
        connect_timeout_seconds=own.smtp_connect_timeout_seconds,
    )
    mail_from = named_mailbox(own.mail_from)
    connections = SmtpConnections(server, sender=mail_from, kept=own.sends_at_once)
    letters = Letters(mail_from, lambda: datetime.now(UTC))
    return _Way(
        sender=AddressedSender(SmtpSender(connections, letters), otherwise=LogSender()),
        jobs=(connections.run,),
        checks={"smtp": connections.unready_reason},
    )


PROGRAM: Final = consumer(NOTIFIER, NotifierSettings, use_cases)
