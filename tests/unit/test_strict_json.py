"""JSON that two readers could understand differently is refused before anybody acts on it."""

import itertools
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


@pytest.mark.parametrize(
    "text", ["[1, 18446744073709551616]", '{"a": "0", "b": -9223372036854775809}', "9" * 20]
)
def test_one_long_number_among_others_is_looked_at(text: str) -> None:
    """Integers are judged one by one only where a text has enough digits in a row."""
    with pytest.raises(NotStrictJson, match="64 bits"):
        parse(text.encode())


@pytest.mark.parametrize("text", ["2.0", "2e0", "-0.0", "0.2e1", "9007199254740992.0"])
def test_a_whole_number_is_an_integer(text: str) -> None:
    """However it is written, as JSON Schema has it; beyond 2**53 a float is not exact and stays one."""
    assert isinstance(parse(text.encode()), int)
    assert isinstance(parse(b"9007199254740994.0"), float)
    assert isinstance(parse(b"2.5"), float)


@given(
    st.recursive(st.just([]), lambda inner: st.lists(inner, max_size=3), max_leaves=30), st.integers(0, 20)
)
def test_depth_is_counted_exactly(value: object, more: int) -> None:
    """What the bound allows is taken, and one level more is not."""
    for _ in range(more):
        value = [value]
    body = json.dumps(value).encode()
    depth = max(itertools.accumulate({"[": 1, "]": -1}.get(each, 0) for each in body.decode()))
    try:
        assert parse(body) == value
        assert depth <= MAX_DEPTH
    except NotStrictJson:
        assert depth > MAX_DEPTH


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
