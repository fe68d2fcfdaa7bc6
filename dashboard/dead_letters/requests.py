"""What can be asked about dead letters, checked where it comes in."""

import re
from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Any, Final, TypeVar

import orjson
from aiohttp import web
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.functional_validators import AfterValidator

from dashboard.dead_letters.letter import DEAD_QUEUES, Wanted
from shared.http.bodies import JsonBodies
from shared.http.limits import HttpLimits
from shared.http.problems import INVALID_FIELDS, MAX_ERRORS_SHOWN, FieldError, invalid, printable

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 1_000
MAX_IDS: Final = 1_000
ACTION_LIMITS: Final = HttpLimits(body_bytes=1_048_576)
_UNIT_SECONDS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
_AGE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd]?)")

Model = TypeVar("Model", bound=BaseModel)


def _age(text: str) -> str:
    if not _AGE.fullmatch(text):
        raise ValueError("must be a number of seconds, or one with a unit: 90s, 15m, 2h, 3d")
    return text


def _queue(name: str) -> str:
    if name not in DEAD_QUEUES:
        raise ValueError(f"must be one of {', '.join(DEAD_QUEUES)}")
    return name


Age = Annotated[str, AfterValidator(_age), Field(json_schema_extra={"pattern": f"^{_AGE.pattern}$"})]
QueueName = Annotated[str, AfterValidator(_queue), Field(json_schema_extra={"enum": list(DEAD_QUEUES)})]
Text = Annotated[str, Field(min_length=1, max_length=256)]


class _Filter(BaseModel):
    """Which letters are meant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queue: QueueName | None = None
    reason: Text | None = None
    sku: Text | None = None
    older_than: Age | None = None
    younger_than: Age | None = None

    def wanted(self, ids: Sequence[str] | None = None) -> Wanted:
        """The same, as the desk takes it."""
        return Wanted(
            queues=DEAD_QUEUES if self.queue is None else (self.queue,),
            ids=None if ids is None else frozenset(ids),
            reason=self.reason,
            sku=self.sku,
            older_than=_seconds(self.older_than),
            younger_than=_seconds(self.younger_than),
        )


class ListRequest(_Filter):
    """The query of ``GET /dead``."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT


class AuditRequest(BaseModel):
    """The query of ``GET /dead-audit``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT


class ActionRequest(_Filter):
    """The body of ``POST /dead/drop``, and with :class:`RedriveRequest` that of ``POST /dead/redrive``:
    letters by id (theirs, or their orders'), or all; filters narrow either."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": ["ids"], "properties": {"all": {"const": False}}},
                {"required": ["all"], "properties": {"all": {"const": True}, "ids": {"type": "null"}}},
            ]
        }
    )

    ids: Annotated[tuple[Text, ...], Field(min_length=1, max_length=MAX_IDS)] | None = None
    all: StrictBool = False
    dry_run: StrictBool = False
    limit: Annotated[int, Field(ge=1, strict=True)] | None = None

    @model_validator(mode="after")
    def _ids_or_all(self) -> "ActionRequest":
        if (self.ids is not None) == self.all:
            raise ValueError('say which letters are meant: either "ids" or "all": true')
        return self


class RedriveRequest(ActionRequest):
    """The body of ``POST /dead/redrive``: where it has a ``body``, one letter goes back with that instead of
    its own."""

    body: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_letter_has_it(self) -> "RedriveRequest":
        if self.body is not None and (self.ids is None or len(self.ids) != 1):
            raise ValueError('"body" corrects one letter: say which by one id in "ids"')
        return self

    @field_validator("body")
    @classmethod
    def _can_be_sent(cls, body: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            orjson.dumps(body)
        except orjson.JSONEncodeError as error:
            raise ValueError("holds text that is no Unicode, such as half of a surrogate pair") from error
        return body


def read_query(request: web.Request, model: type[Model]) -> Model:
    """Raises Problem with 422 that names each parameter at fault."""
    twice = [name for name in dict.fromkeys(request.query) if len(request.query.getall(name)) > 1]
    if twice:
        raise invalid(
            INVALID_FIELDS, [FieldError(field=name, message="stands more than once") for name in twice]
        )
    return checked(model, dict(request.query))


async def read_action(request: web.Request, bodies: JsonBodies, model: type[ActionRequest]) -> ActionRequest:
    """Raises Problem with 400, 408, 413, 415, 422 or 503."""
    return checked(model, await bodies.read(request))


def checked(model: type[Model], given: Any) -> Model:
    """What was asked. Raises Problem with 422 that names each field at fault."""
    try:
        return model.model_validate(_bounded(model, given))
    except ValidationError as error:
        raise invalid(
            INVALID_FIELDS,
            [
                FieldError(
                    field=".".join(printable(str(part)) for part in fault["loc"]),
                    message=fault["msg"].removeprefix("Value error, "),
                )
                for fault in error.errors(include_url=False, include_input=False)
            ],
        ) from error


def _bounded(model: type[BaseModel], given: Any) -> Any:
    """As much of it as tells that it is too much: pydantic builds an error for each of a thousand faults."""
    if not isinstance(given, dict):
        return given
    most = len(model.model_fields) + MAX_ERRORS_SHOWN
    return {
        name: value[: MAX_IDS + 1] if isinstance(value, list) else value
        for name, value in islice(given.items(), most)
    }


def _seconds(age: str | None) -> float | None:
    match = _AGE.fullmatch(age or "")
    return float(match[1]) * _UNIT_SECONDS[match[2]] if match else None
