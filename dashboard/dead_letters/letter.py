"""A dead letter, read so that an operator can judge it; and which letters an operator means."""

import base64
import contextlib
import hashlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from shared.errors import DecodeError
from shared.messages import (
    Event,
    OrderPlaced,
    content_fingerprint,
    decode,
    event_time,
    is_identifier,
)
from shared.messaging.ports import Delivery
from shared.messaging.redrive import Past
from shared.messaging.retry import History
from shared.messaging.settlement import OF_THE_BROKER
from shared.pipeline import CONSUMPTIONS, Consumption

SHOWN_BODY_BYTES: Final = 65_536
"""A longer body is shown by its beginning."""
PREVIEW_BYTES: Final = 1_024
UNKNOWN_REASON: Final = "unknown"
_REASON: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_CONSUMER_OF: Final = {consumption.dead_queue: consumption for consumption in CONSUMPTIONS}
DEAD_QUEUES: Final = tuple(_CONSUMER_OF)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """One dead letter. ``event`` is None where its body is no event that we know.

    ``id`` is the same however often the letter is looked at; copies of one message share it. ``order_id`` may
    be known although the rest of the body cannot be read.
    """

    id: str
    queue: str
    event: Event[Any] | None
    event_type: str | None
    order_id: str | None
    reason: str
    history: History
    past: Past
    delivery: Delivery

    @property
    def consumption(self) -> Consumption:
        """Whose letter it is."""
        return _CONSUMER_OF[self.queue]

    @property
    def placed(self) -> Event[OrderPlaced] | None:
        """The event, if an undecided order hangs on it."""
        return self.event if self.event is not None and isinstance(self.event.data, OrderPlaced) else None

    @property
    def skus(self) -> Sequence[str]:
        """The SKUs of its order."""
        return [] if self.event is None else [item.sku for item in self.event.data.order.items]

    @property
    def content(self) -> str | None:
        """The order with the fingerprint of what was ordered, which tells it from another one of this id."""
        if self.event is None:
            return None
        return f"{self.event.subject}:{content_fingerprint(self.event.data.order)}"

    def age_seconds(self, now: int) -> float | None:
        """How long ago it failed for the last time, if that is known; ``now`` in microseconds."""
        failed_at = self.history.last_failed_at
        return max(now - failed_at, 0) / 1_000_000 if failed_at else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which letters are meant: those for which everything holds that is said here.

    ``ids`` are letters' or orders', ``contents`` orders' with their fingerprints. Ages are since the last
    failure, in seconds; a letter of unknown age is neither older nor younger than anything.
    """

    queues: Sequence[str] = DEAD_QUEUES
    ids: Collection[str] | None = None
    contents: Collection[str] | None = None
    reason: str | None = None
    sku: str | None = None
    older_than: float | None = None
    younger_than: float | None = None

    def includes(self, letter: Letter, now: int) -> bool:
        """Whether the letter is meant; ``now`` in microseconds since the epoch."""
        age = letter.age_seconds(now)
        return (
            letter.queue in self.queues
            and (self.ids is None or letter.id in self.ids or letter.order_id in self.ids)
            and (self.contents is None or letter.content in self.contents)
            and self.reason in (None, letter.reason)
            and (self.sku is None or self.sku in letter.skus)
            and (self.older_than is None or (age is not None and age >= self.older_than))
            and (self.younger_than is None or (age is not None and age < self.younger_than))
        )


def read_letter(queue: str, delivery: Delivery) -> Letter:
    """The letter in a delivery. Never fails: what cannot be read is shown as it is."""
    history = History.read(delivery.headers)
    try:
        decoded = decode(delivery.body)
    except DecodeError:
        event, event_type, subject = None, *_hints(delivery.body)
    else:
        event = decoded if isinstance(decoded, Event) else None
        event_type, subject = (event.type, event.subject) if event else _hints(delivery.body)
    digest = hashlib.blake2b(delivery.body, digest_size=12).hexdigest()
    return Letter(
        id=f"{queue}:{event.id if event else f'body-{digest}'}",
        queue=queue,
        event=event,
        event_type=event_type,
        order_id=subject,
        reason=_reason(history, delivery),
        history=history,
        past=Past.read(delivery.headers),
        delivery=delivery,
    )


def view(letter: Letter, now: int) -> dict[str, Any]:
    """The letter as JSON shows it. Times are in UTC, null where they are not known."""
    history, past = letter.history, letter.past
    return {
        "id": letter.id,
        "queue": letter.queue,
        "order_id": letter.order_id,
        "event_id": None if letter.event is None else letter.event.id,
        "event_type": letter.event_type,
        "skus": letter.skus,
        "reason": letter.reason,
        "attempts": history.attempts,
        "first_failed_at": _time(history.first_failed_at),
        "last_failed_at": _time(history.last_failed_at),
        "age_seconds": letter.age_seconds(now),
        "last_error": history.last_error,
        "redriven": past.redriven,
        "redriven_at": _time(past.redriven_at),
        "previous_reason": past.previous_reason or None,
        "previous_error": past.previous_error or None,
        "previous_attempts": past.previous_attempts,
        "correlation_id": letter.delivery.correlation_id,
        "body_bytes": len(letter.delivery.body),
        **_body(letter.delivery.body),
    }


def _hints(body: bytes) -> tuple[str | None, str | None]:
    """Type and order id of a body that is no event we can read, where it says so all the same."""
    try:
        raw = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None, None
    if not isinstance(raw, dict):
        return None, None
    type_, subject = raw.get("type"), raw.get("subject")
    is_order_id = isinstance(subject, str) and is_identifier(subject)
    return (type_[:128] if isinstance(type_, str) else None), (subject if is_order_id else None)


def _reason(history: History, delivery: Delivery) -> str:
    """A word. Headers can say anything, and a reason goes into records and logs."""
    said = [history.reason, *(str(delivery.headers.get(name, "")) for name in OF_THE_BROKER)]
    return next((reason for reason in said if _REASON.fullmatch(reason)), UNKNOWN_REASON)


def _body(body: bytes) -> dict[str, Any]:
    if len(body) <= SHOWN_BODY_BYTES:
        with contextlib.suppress(orjson.JSONDecodeError, orjson.JSONEncodeError):
            content = orjson.loads(body)
            orjson.dumps([[[content]]])  # in an answer's list; what is nested deep is read, and not written
            return {"body": content}
    return {"body_base64": base64.b64encode(body[:PREVIEW_BYTES]).decode("ascii")}


def _time(microseconds: int) -> datetime | None:
    return event_time(microseconds) if microseconds else None
