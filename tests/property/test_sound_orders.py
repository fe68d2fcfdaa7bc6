"""A body is read in one pass only where the strict way would have said the same."""

import json
import re
from typing import Any

from hypothesis import example, given, strategies as st

from api_gateway.validation import RequestedOrder, read_order, read_sound_order
from shared.http.bodies import parse_json
from shared.http.problems import Problem

words = st.sampled_from(["a", "order-1", "", "é", "\ud800", "x" * 65, "a b", "items", "\\", '"', "\x00"])
emails = st.sampled_from(["a@example.com", "a@", "ä@example.com", None, 1])
numbers = st.one_of(
    st.integers(-2, 10_001), st.sampled_from([2.0, 1.5, 1e400, 2**64, True, None, "1", float("nan")])
)
keys = st.sampled_from(
    ["id", "sku", "qty", "email", "items", "other", "i\\u0064", "currency", "amount_total"]
)
currencies = st.sampled_from(["EUR", "JPY", "XXX", "eur", "", None, 1])
items = st.lists(
    st.one_of(
        st.fixed_dictionaries({"sku": words, "qty": numbers}), st.dictionaries(keys, words, max_size=3)
    ),
    max_size=3,
)
values = st.one_of(words, emails, numbers, items, st.none(), st.recursive(st.none(), st.lists, max_leaves=5))
members = st.lists(st.tuples(keys, values), max_size=5)
sound = st.tuples(
    st.lists(st.tuples(st.just("id"), words), max_size=2),
    st.one_of(
        st.tuples(st.tuples(st.just("sku"), words), st.tuples(st.just("qty"), numbers)),
        st.tuples(st.tuples(st.just("items"), items)),
    ),
    st.lists(st.tuples(st.just("email"), emails), max_size=2),
    st.lists(st.tuples(st.just("currency"), currencies), max_size=2),
    st.lists(st.tuples(st.just("amount_total"), numbers), max_size=2),
).map(lambda parts: [pair for part in parts for pair in part])
blanks = st.sampled_from(["", " ", "\n\t", "\ufeff", "\x0c"])


def text_of(pairs: list[tuple[str, Any]], blank: str) -> bytes:
    """An object with these members in order, equal ones included."""
    inside = ",".join(
        f'{blank}"{key}"{blank}:{json.dumps(value, ensure_ascii=False)}' for key, value in pairs
    )
    return f"{blank}{{{inside}}}{blank}".encode("utf-8", "surrogatepass")


def strictly(body: bytes, *, id_required: bool) -> RequestedOrder | None:
    """What the strict way reads, None where it refuses."""
    try:
        return read_order(parse_json(body), id_required=id_required)
    except Problem:
        return None


@given(st.one_of(members, sound), blanks, st.booleans())
@example([("id", "a"), ("sku", "a"), ("qty", 1)], "", True)
@example([("id", "a"), ("id", "b"), ("sku", "a"), ("qty", 1)], "", True)
@example([("sku", "a"), ("qty", 1), ("qty", 2)], "", False)
@example([("items", [{"sku": "a", "qty": 1}, {"sku": "a", "qty": 1}])], "", False)
@example([("id", None), ("items", [{"sku": "a", "qty": 1}]), ("email", "a@example.com")], " ", True)
def test_one_pass_reads_what_the_strict_way_reads_or_leaves_it_to_that(
    pairs: list[tuple[str, Any]], blank: str, id_required: bool
) -> None:
    """Never another order, and never one that is to be refused."""
    body = text_of(pairs, blank)
    found = read_sound_order(body, id_required=id_required)
    assert found is None or found == strictly(body, id_required=id_required)


@given(
    st.one_of(members, sound).map(lambda pairs: text_of(pairs, "")),
    st.integers(0, 200),
    st.binary(max_size=3),
)
def test_no_byte_put_in_anywhere_makes_them_differ(body: bytes, place: int, more: bytes) -> None:
    """Broken encodings and broken JSON included."""
    body = body[:place] + more + body[place:]
    found = read_sound_order(body, id_required=False)
    assert found is None or found == strictly(body, id_required=False)


def test_ordinary_orders_are_read_in_one_pass() -> None:
    """Both forms, with and without what may be left out."""
    for body in (
        b'{"id": "a", "sku": "cable", "qty": 2}',
        b'{"id":"a","items":[{"sku":"cable","qty":1},{"qty":2,"sku":"case"}],"email":"a@example.com"}',
        b'{"items": [{"sku": "cable", "qty": 1}]}',
        b'{"id":"a","currency":"EUR","amount_total":4298,"items":[{"sku":"cable","qty":1}]}',
        b'{"id": "a", "sku": "cable", "qty": 2, "amount_total": 0}',
    ):
        id_required = re.search(rb'"id": ?"', body) is not None
        found = read_sound_order(body, id_required=id_required)
        assert found is not None
        assert found == strictly(body, id_required=id_required)
