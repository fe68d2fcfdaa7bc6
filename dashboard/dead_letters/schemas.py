"""What the routes about dead letters answer, as JSON Schema."""

from typing import Any, Final

from dashboard.dead_letters.actions import Outcome
from shared.http.routes import Json, Parameter

_TEXT: Final = {"type": "string"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_FLAG: Final = {"type": "boolean"}
_MAYBE_TEXT: Final = {"type": ["string", "null"]}
_MAYBE_TIME: Final = {"type": ["string", "null"], "format": "date-time"}


def _object(**properties: Any) -> Json:
    """All of them are there."""
    return {"type": "object", "required": list(properties), "properties": properties}


ID: Final = Parameter(
    name="id",
    place="path",
    description="The letter's id, or its order's.",
    schema={"type": "string", "examples": ["order123"]},
)
LETTER: Final = _object(
    id=_TEXT,
    queue=_TEXT,
    order_id=_MAYBE_TEXT,
    event_id=_MAYBE_TEXT,
    event_type=_MAYBE_TEXT,
    skus={"type": "array", "items": _TEXT},
    reason=_TEXT,
    attempts=_COUNT,
    first_failed_at=_MAYBE_TIME,
    last_failed_at=_MAYBE_TIME,
    age_seconds={"type": ["number", "null"]},
    last_error=_MAYBE_TEXT,
    redriven=_COUNT,
    redriven_at=_MAYBE_TIME,
    previous_reason=_MAYBE_TEXT,
    previous_error=_MAYBE_TEXT,
    previous_attempts=_COUNT,
    correlation_id=_MAYBE_TEXT,
    body_bytes=_COUNT,
)
LIST: Final = _object(
    letters={"type": "array", "items": LETTER},
    queues={"type": "object", "additionalProperties": _COUNT},
    more=_FLAG,
    complete=_FLAG,
)
_ACTED: Final = _object(
    id=_TEXT,
    queue=_TEXT,
    order_id=_MAYBE_TEXT,
    reason=_TEXT,
    outcome={"type": "string", "enum": [outcome.value for outcome in Outcome]},
    detail=_MAYBE_TEXT,
)
AUDIT: Final = _object(
    audit={
        "type": "array",
        "items": _object(
            action=_TEXT,
            outcome=_TEXT,
            detail=_TEXT,
            letter_id=_TEXT,
            order_id=_TEXT,
            reason=_TEXT,
            by=_TEXT,
            at=_MAYBE_TIME,
        ),
    }
)
RESULT: Final = _object(
    action=_TEXT,
    dry_run=_FLAG,
    matched=_COUNT,
    done=_COUNT,
    failed=_COUNT,
    complete=_FLAG,
    more=_FLAG,
    fault=_MAYBE_TEXT,
    not_found={"type": "array", "items": _TEXT},
    letters={"type": "array", "items": _ACTED},
)
