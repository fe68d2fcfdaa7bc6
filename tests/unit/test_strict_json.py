"""JSON that two readers could understand differently is refused before anybody acts on it."""

import json

import pytest
from hypothesis import given, strategies as st

from shared.http.strict_json import LARGEST_INTEGER, MAX_DEPTH, SMALLEST_INTEGER, NotStrictJson, parse

REFUSED = {
    "empty": b"",
    "only space": b"  ",
    "truncated": b'{"id": "order123"',
    "truncated in a string": b'{"id": "ord',
    "trailing data": b"{} {}",
    "trailing comma": b'{"a": 1,}',
    "a comment": b"{} // what",
    "single quotes": b"{'a': 1}",
    "invalid UTF-8": b'{"a": "\xff"}',
    "overlong UTF-8": b'{"a": "\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "UTF-16 with a mark": '{"a": 1}'.encode("utf-16"),
    "UTF-16 without a mark": '{"a": 1}'.encode("utf-16-le"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "byte order mark": b'\xef\xbb\xbf{"a": 1}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "-Infinity": b'{"a": -Infinity}',
    "1e999": b'{"a": 1e999}',
    "-1e999": b'{"a": -1e999}',
    "duplicate keys": b'{"a": 1, "a": 2}',
    "duplicate keys, one escaped": b'{"a": 1, "\\u0061": 2}',
    "duplicate keys deeper": b'{"a": [{"b": 1, "b": 1}]}',
    "duplicate keys with lone surrogates": b'{"\\ud800": 1, "\\ud800": 2}',
    "2**64": b'{"a": 18446744073709551616}',
    "-2**63 - 1": b'{"a": -9223372036854775809}',
    "an integer of 60,000 digits": b"9" * 60_000,
    "a control character": b'{"a": "\x01"}',
    "a newline in a string": b'{"a": "x\ny"}',
    "leading zero": b'{"a": 01}',
    "plus sign": b'{"a": +1}',
}


@pytest.mark.parametrize("body", REFUSED.values(), ids=REFUSED.keys())
def test_it_refuses(body: bytes) -> None:
    """Each of these is an error, with a text that may be shown."""
    with pytest.raises(NotStrictJson) as caught:
        parse(body)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 200
    str(caught.value).encode()


@pytest.mark.parametrize("opening", ["[", '{"a":', '[{"a":'])
@pytest.mark.parametrize("count", [MAX_DEPTH + 1, 1_000, 10_000])
def test_it_refuses_what_is_nested_too_deep_however_deep(opening: str, count: int) -> None:
    """Depth is looked at before parsing, so that no depth reaches the parser's own recursion."""
    with pytest.raises(NotStrictJson, match="deeper"):
        parse((opening * count).encode())


def test_it_takes_sixteen_levels_and_no_more() -> None:
    """The bound itself is allowed."""
    assert parse(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH) is not None
    with pytest.raises(NotStrictJson, match="deeper than 16"):
        parse(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))


def test_brackets_in_strings_are_no_nesting() -> None:
    """Neither plain ones nor ones beside escaped quotes and backslashes."""
    for text in ("[" * 99, '\\"' + "[" * 99, '\\\\\\"' + "{" * 99 + "\\\\"):
        body = f'{{"a": "{text}"}}'.encode()
        assert set(parse(body)) == {"a"}


def test_brackets_side_by_side_are_no_nesting() -> None:
    """A hundred items are as deep as one."""
    assert len(parse(b"[" + b",".join([b'{"sku":"a"}'] * 100) + b"]")) == 100


def test_it_takes_integers_of_64_bits() -> None:
    """Both ends of the range."""
    assert parse(str(LARGEST_INTEGER).encode()) == LARGEST_INTEGER
    assert parse(str(SMALLEST_INTEGER).encode()) == SMALLEST_INTEGER


def test_it_takes_a_lone_surrogate_in_a_string() -> None:
    """It is well-formed JSON; which field may not have it is for validation to say."""
    assert parse(b'{"a": "\\ud800"}') == {"a": "\ud800"}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(SMALLEST_INTEGER, LARGEST_INTEGER) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_strict_is_read_as_the_standard_library_wrote_it(value: object) -> None:
    """Refusing more does not mean reading differently."""
    body = json.dumps(value).encode()
    assert parse(body) == value


@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_parsed_or_refused(body: bytes) -> None:
    """Nothing else is ever raised."""
    try:
        parse(body)
    except NotStrictJson:
        return
