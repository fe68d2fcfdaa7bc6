"""The notifier's handler over its real store and scripts."""

from typing import Any

from notifier.handlers import NotificationHandler
from notifier.ports import LetterQuota, NotificationStore, Sender
from notifier.store import RedisNotificationStore
from notifier.unconfirmed import UnconfirmedLetters
from tests.harness.stores import as_service

LEASE_SECONDS = 15.0
CONFIRM_SECONDS = 60.0
RETENTION_SECONDS = 600.0


def notification_store(
    redis: Any,
    *,
    lease_seconds: float = LEASE_SECONDS,
    confirm_seconds: float = CONFIRM_SECONDS,
    retention_seconds: float = RETENTION_SECONDS,
) -> RedisNotificationStore:
    """The real records and scripts."""
    return RedisNotificationStore(
        as_service(redis, "notifier"),
        timeout_seconds=5.0,
        lease_seconds=lease_seconds,
        confirm_seconds=confirm_seconds,
        retention_seconds=retention_seconds,
    )


def notification_handler(
    store: NotificationStore,
    sender: Sender,
    *,
    unconfirmed: UnconfirmedLetters | None = None,
    lease_seconds: float = LEASE_SECONDS,
    answer_seconds: float = 5.0,
    quota: LetterQuota | None = None,
    sends_at_once: int = 1,
) -> NotificationHandler:
    """A handler that follows unconfirmed letters for as long as the test lasts."""
    return NotificationHandler(
        store=store,
        sender=sender,
        unconfirmed=unconfirmed or UnconfirmedLetters(store, limit=20),
        lease_seconds=lease_seconds,
        answer_seconds=answer_seconds,
        quota=quota,
        sends_at_once=sends_at_once,
    )
