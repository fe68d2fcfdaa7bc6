"""Builds the notifier from its adapters and runs it until it is told to stop."""

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry

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
from shared.redis.client import Redis
from shared.service.infrastructure import Infrastructure
from shared.service.worker import UseCases, run_worker
from shared.settings import CommonSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """The way to the customers, and what runs and is checked because of it."""

    sender: Sender
    jobs: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    checks: Mapping[str, Check] = field(default_factory=dict)


async def run(
    common: CommonSettings, own: NotifierSettings, infrastructure: Infrastructure, stop: asyncio.Event
) -> None:
    """Notifies until ``stop`` is set, then finishes what has arrived."""
    way = _mail(own) if own.sender == "smtp" else _Way(sender=LogSender())

    def build(redis: Redis, random_: random.Random, _: CollectorRegistry) -> UseCases:
        store = RedisNotificationStore(
            redis,
            timeout_seconds=own.store_timeout_seconds,
            lease_seconds=own.lease_seconds,
            retention_seconds=common.order_retention_seconds,
        )
        handler = NotificationHandler(
            store=store,
            sender=way.sender,
            send_timeout_seconds=own.send_timeout_seconds,
            random_=random_,
            sends_at_once=own.sends_at_once,
        )
        return UseCases(
            handlers={OrderCreated: handler, OrderRejected: handler},
            failures=store,
            jobs=way.jobs,
            checks=way.checks,
        )

    await run_worker(NOTIFIER, own, infrastructure, build, stop)


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
