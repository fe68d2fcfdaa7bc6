"""From the JSON of a body to what was asked for, or to a problem that names every field at fault."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from shared.http.problems import INVALID_FIELDS, FieldError, invalid, printable
from shared.text import visible

WHOLE_BODY: Final = "body"
IDENTIFIER_RULE: Final = (
    "must be 1 to 64 letters, digits, dots, hyphens or underscores, and begin with a letter or digit"
)
UNKNOWN_FIELD: Final = "is not a field of this request"
REQUIRED: Final = "is required"
_CHOICE: Final = re.compile(r"'([^']*)'")
_RULES: Final = {
    "email": "must be an e-mail address that a letter can be sent to",
    "currency": "must be a currency of ISO 4217, such as EUR",
    **dict.fromkeys(("name", "category", "description"), "must have no control characters"),
    "reason": "must be 1 to 200 characters, none of them a control character",
}
"""The form that a field must have, by its name."""
_MESSAGES: Final = {
    "missing": REQUIRED,
    "extra_forbidden": UNKNOWN_FIELD,
    "int_type": "must be a whole number",
    "string_type": "must be a string",
    "string_unicode": "must not contain lone surrogates",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "too_short": "must have at least {min_length} entry",
    "too_long": "must have at most {max_length} entries",
}


class Body(BaseModel):
    """What a request's body is read into: strictly, and with no field that is not named."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


AnyBody = TypeVar("AnyBody", bound=BaseModel)


def read_fields(form: type[AnyBody], value: Any) -> AnyBody:
    """The body whose JSON has this value. Raises Problem with 422."""
    body = validated(form, value)
    if body is None:
        raise invalid(INVALID_FIELDS, faults(form, value))
    return body


def validated(form: type[AnyBody], value: Any) -> AnyBody | None:
    """The body, or None where anything is wrong; :func:`faults` then says what.

    pydantic builds an error for each of thousands of faults before it shows one, so it is only asked about
    what has the size of a sound body.
    """
    if not isinstance(value, dict) or len(value) > len(form.model_fields):
        return None
    try:
        return form.model_validate(value)
    except ValidationError:
        return None


def faults(
    form: type[BaseModel], value: Any, path: str = "", stand_ins: Mapping[str, Any] | None = None
) -> Iterator[FieldError]:
    """What is wrong, one fault after the other, so that the work ends where the caller stops asking.

    ``stand_ins`` are looked at in the place of fields whose insides the caller looks at by itself.
    """
    if not isinstance(value, dict):
        yield FieldError(field=path.rstrip(".") or WHOLE_BODY, message=_MESSAGES["model_type"])
        return
    fields = {name: value[name] for name in form.model_fields if name in value}
    try:
        form.model_validate({**fields, **(stand_ins or {})})
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            yield FieldError(field=f"{path}{_path(fault['loc'])}", message=_message(fault))
    for name in value:
        if name not in form.model_fields:
            yield FieldError(field=printable(f"{path}{visible(name)}"), message=UNKNOWN_FIELD)


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)


def _message(fault: ErrorDetails) -> str:
    kind = fault["type"]
    if kind == "literal_error":  # pydantic names the members of an enumeration as Python would
        return f"must be one of {', '.join(_CHOICE.findall(fault['ctx']['expected']))}"
    if kind in ("string_pattern_mismatch", "value_error") and (rule := _RULES.get(_path(fault["loc"]))):
        return rule
    if kind == "string_pattern_mismatch":
        return IDENTIFIER_RULE
    template = _MESSAGES.get(kind)
    return template.format(**fault.get("ctx", {})) if template else fault["msg"].removeprefix("Value error, ")
