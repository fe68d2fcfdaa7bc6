"""What is sent and answered about webhooks, as JSON. Times are in UTC."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field

from shared.http.validation import Body
from shared.instants import PATTERN, read_instant
from shared.pipeline import EVENTS_EXCHANGE, ROUTES
from shared.versions import first_version

EVENT_NAMES: Final = tuple(
    sorted({first_version(name) for name, route in ROUTES.items() if route.exchange == EVENTS_EXCHANGE.name})
)
"""The types of events that receivers can be told of, by their first versions, whichever is sent today."""
LONGEST_URL: Final = 2_000
LONGEST_DESCRIPTION: Final = 200
LARGEST_SEQUENCE: Final = 2**53


def _known(name: str) -> str:
    if name not in EVENT_NAMES:
        raise ValueError(f"must be one of {', '.join(EVENT_NAMES)}")
    return name


def _instant(text: str) -> str:
    read_instant(text)
    return text


EventName = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": list(EVENT_NAMES)})]
EventNames = Annotated[list[EventName], Field(min_length=1, max_length=len(EVENT_NAMES))]
ReceiverUrl = Annotated[str, Field(min_length=1, max_length=LONGEST_URL, json_schema_extra={"format": "uri"})]
Description = Annotated[str, Field(max_length=LONGEST_DESCRIPTION, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]


class DeliveryStatus(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class WebhookBody(Body):
    """Where to tell what: an https URL at a public address, and types of events, all if none is named."""

    url: ReceiverUrl
    events: EventNames = Field(default_factory=lambda: list(EVENT_NAMES))
    description: Description = ""


def _without_defaults(schema: dict[str, Any]) -> None:
    schema["minProperties"] = 1
    for part in schema["properties"].values():
        part.pop("default", None)


class WebhookChangeBody(Body):
    """What is to change of a webhook: one field at least; the others stay as they are."""

    model_config = ConfigDict(json_schema_extra=_without_defaults)

    url: ReceiverUrl = ""
    events: EventNames = Field(default_factory=list)
    description: Description = ""
    enabled: bool = True


class ResendBody(Body):
    """The delivery to send once more, by its number."""

    sequence: Annotated[int, Field(strict=True, ge=1, le=LARGEST_SEQUENCE)]


class RecoverBody(Body):
    """Since when what failed is to be sent again."""

    since: Annotated[
        str,
        AfterValidator(_instant),
        Field(pattern=f"^{PATTERN}$", json_schema_extra={"format": "date-time"}),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookView:
    """A webhook. ``disabled_reason`` says why it is not enabled; ``sequence`` is the number of its latest
    delivery; since ``failing_since`` every attempt has failed.
    """

    id: str
    url: str
    description: str
    events: Sequence[str]
    enabled: bool
    disabled_reason: str | None
    failing_since: datetime | None
    sequence: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretWebhookView(WebhookView):
    """The same with the secret that signs, which is shown this once."""

    secret: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookList:
    """All webhooks of who asks, oldest first."""

    webhooks: Sequence[WebhookView]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptView:
    """One attempt. ``status`` is what the receiver answered, else ``error`` says what went wrong."""

    at: datetime
    milliseconds: int
    status: int | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    """An event on its way to a webhook: ``pending``, ``succeeded`` or ``failed``.

    ``attempts`` counts all of them, of which the ``latest`` ones are shown, oldest first.
    """

    sequence: int
    webhook_id: str
    event_id: str
    event_type: str
    order_id: str
    status: str
    created_at: datetime
    next_attempt_at: datetime | None
    attempts: int
    latest: Sequence[AttemptView]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryList:
    """Deliveries, newest first. ``next_cursor`` leads to the next page; null on the last one."""

    deliveries: Sequence[DeliveryView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveredView:
    """How many deliveries are sent again."""

    deliveries: int
