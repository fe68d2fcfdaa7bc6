"""JSON as RFC 8259 has it and nothing beyond, because a lenient reader guesses what the client meant.

The standard parser takes NaN, the last of duplicate keys, a byte order mark, and recurses as deep as the text
asks it to; others turn 2**64 into a float. Each of these is refused here.
"""

import json
import math
import re
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 16
SMALLEST_INTEGER: Final = -(2**63)
LARGEST_INTEGER: Final = 2**64 - 1
_MAX_DIGITS: Final = len(str(SMALLEST_INTEGER))
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_ESCAPE: Final = re.compile(rb"\\.", re.DOTALL)
_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_MAYBE_TOO_LARGE: Final = b"0" * 19
"""Without so many digits in its text, no integer of a body leaves its bounds, and none is looked at."""
_EXACT_UP_TO: Final = 2**53


class NotStrictJson(ValueError):
    """Raised when a text is not JSON, or is JSON that two readers could understand differently."""


def parse(body: bytes) -> Any:
    """The value of a JSON text in UTF-8. Raises NotStrictJson, whose text may be shown to the client."""
    if not body:
        raise NotStrictJson("The body is empty.")
    if body.startswith(_BYTE_ORDER_MARK):
        raise NotStrictJson("The body begins with a byte order mark.")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotStrictJson(f"The body is not UTF-8: byte {error.start} is wrong.") from error
    if _is_too_deep(body):
        raise NotStrictJson(f"The body is nested deeper than {MAX_DEPTH}.")
    decoder = _CAREFUL_DECODER if _MAYBE_TOO_LARGE in body.translate(_DIGITS) else _DECODER
    try:
        return decoder.decode(text)
    except json.JSONDecodeError as error:
        fault, where = error.msg.removesuffix(" at"), f"line {error.lineno}, column {error.colno}"
        raise NotStrictJson(f"The body is not JSON: {fault} at {where}.") from error


def _is_too_deep(body: bytes) -> bool:
    """Looked at before parsing: the parser descends only where the text before was well formed, and in
    well-formed text a backslash and the byte after it stand in a string.

    Each round takes the innermost pairs away. What is left of a text that is not too deep is ``]…][…[``, each
    bracket without its partner.
    """
    if body.count(b"{") + body.count(b"[") <= MAX_DEPTH:
        return False
    outside_strings = b"".join(_ESCAPE.sub(b"", body).split(b'"')[::2])
    left = outside_strings.translate(_BRACKETS, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        left = left.replace(b"[]", b"")
    return b"[]" in left or left.count(b"[") > MAX_DEPTH


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise NotStrictJson(f"The key {json.dumps(twice[:64])} stands twice in one object.")
    return members


def _integer(digits: str) -> int:
    if len(digits) <= _MAX_DIGITS:
        number = int(digits)
        if SMALLEST_INTEGER <= number <= LARGEST_INTEGER:
            return number
    raise NotStrictJson("An integer does not fit into 64 bits.")


def _number(digits: str) -> int | float:
    """What has a point or an exponent. ``2.0`` is the integer 2, as JSON Schema has it."""
    number = float(digits)
    if math.isinf(number):
        raise NotStrictJson("A number is too large.")
    return int(number) if number.is_integer() and abs(number) <= _EXACT_UP_TO else number


def _constant(name: str) -> NoReturn:
    raise NotStrictJson(f"{name} is not JSON.")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_constant)
_CAREFUL_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)
