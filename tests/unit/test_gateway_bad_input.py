"""The list of bad input: each is answered as promised, as a problem, and none of it reaches an order."""

import json
import timeit
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from api_gateway.validation import read_order
from shared.http.bodies import parse_json
from shared.http.limits import HttpLimits
from shared.http.problems import Problem
from tests.harness.http_gateway import Gateway, gateway, problem_of

GOOD: dict[str, Any] = {"id": "order123", "sku": "mag-safe-phone-case", "qty": 2}
LIMITS = HttpLimits(body_timeout_seconds=0.3, head_timeout_seconds=0.3)
ITEM = {"sku": "a", "qty": 1}
ORDINARY_REFUSAL_SECONDS = 0.001
"""Less than what a refused request costs altogether."""
HEAD = b"POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture
async def served() -> AsyncIterator[Gateway]:
    """A gateway with short deadlines; no order may have got through it."""
    async with gateway(LIMITS) as running:
        yield running
        assert running.intake.placements == []


def order(**changes: object) -> bytes:
    """The good order with some fields changed; None removes one."""
    fields = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return json.dumps(fields).encode()


def items(*entries: object) -> bytes:
    """An order of these items."""
    return order(sku=None, qty=None, items=list(entries))


NOT_JSON = {
    "truncated": b'{"id": "order123"',
    "empty": b"",
    "trailing data": order() + b"{}",
    "invalid UTF-8": order().replace(b"order", b"\xff"),
    "UTF-16": order().decode().encode("utf-16"),
    "BOM": b"\xef\xbb\xbf" + order(),
    "NaN": order().replace(b"2}", b"NaN}"),
    "Infinity": order().replace(b"2}", b"Infinity}"),
    "-Infinity": order().replace(b"2}", b"-Infinity}"),
    "1e999": order().replace(b"2}", b"1e999}"),
    "duplicate keys": order().replace(b"}", b', "qty": 3}'),
    "too deep": order().replace(b"2}", b"[" * 16 + b"]" * 16 + b"}"),
    "very deep": b"[" * 30_000,
    "past 64 bits": order().replace(b"2}", b"18446744073709551616}"),
    "a raw control character": order().replace(b"order", b"\x01"),
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
async def test_what_is_not_strict_json_is_400(served: Gateway, body: bytes) -> None:
    """Whatever a lenient parser would make of it."""
    answer = await served.post(body)
    assert answer.status == 400
    assert (await problem_of(answer))["type"] == "/problems/malformed-json"


WRONG_FIELDS = {
    "no object": (b'"order"', ["body"]),
    "a list": (b"[]", ["body"]),
    "null": (b"null", ["body"]),
    "nothing": (b"{}", ["items", "id"]),
    "unknown field": (order(color="red"), ["color"]),
    "unknown field in an item": (items(ITEM | {"color": "red"}), ["items.0.color"]),
    "unknown field with a lone surrogate": (order(**{"\ud800": 1}), ["\\ud800"]),
    "no sku": (order(sku=None), ["sku"]),
    "no qty": (order(qty=None), ["qty"]),
    "no qty in an item": (items(ITEM, {"sku": "b"}), ["items.1.qty"]),
    "bool": (order(qty=True), ["qty"]),
    "float": (order(qty=2.5), ["qty"]),
    "float with exponent": (order().replace(b"2}", b"2e-1}"), ["qty"]),
    "float that is whole and too large": (order().replace(b"2}", b"1e300}"), ["qty"]),
    "string for qty": (order(qty="2"), ["qty"]),
    "null for qty": (order().replace(b"2}", b"null}"), ["qty"]),
    "qty 0": (order(qty=0), ["qty"]),
    "qty -1": (order(qty=-1), ["qty"]),
    "qty 10,001": (order(qty=10_001), ["qty"]),
    "qty of 64 bits": (order(qty=2**64 - 1), ["qty"]),
    "number for sku": (order(sku=5), ["sku"]),
    "no items": (items(), ["items"]),
    "101 items": (items(*({"sku": f"s{n}", "qty": 1} for n in range(101))), ["items"]),
    "items is no list": (order(sku=None, qty=None, items=ITEM), ["items"]),
    "an item is no object": (items("a"), ["items.0"]),
    "the same SKU twice": (items(ITEM, {"sku": "b", "qty": 1}, ITEM), ["items.2.sku"]),
    "both forms": (order(items=[ITEM]), ["sku", "qty"]),
    "both forms, half": (order(items=[ITEM], qty=None), ["sku"]),
    "lone surrogate in the id": (order(id="a\ud800"), ["id"]),
    "lone surrogate in the SKU": (order(sku="\udfff"), ["sku"]),
    "lone surrogate in the e-mail": (order(email="\ud800@example.com"), ["email"]),
    "NUL in the id": (order(id="a\x00"), ["id"]),
    "newline after the id": (order(id="order123\n"), ["id"]),
    "newline after the SKU": (order(sku="a\n"), ["sku"]),
    "control character in the e-mail": (order(email="a\x07@example.com"), ["email"]),
    "C1 control character in the e-mail": (order(email="a\x9b@example.com"), ["email"]),
    "newline in the e-mail": (order(email="a@example.com\nBcc: b@example.com"), ["email"]),
    "no e-mail address": (order(email="nobody"), ["email"]),
    "e-mail of 255 characters": (order(email="a@" + "b" * 253), ["email"]),
    "empty id": (order(id=""), ["id"]),
    "id of 65 characters": (order(id="a" * 65), ["id"]),
    "id with a slash": (order(id="a/b"), ["id"]),
    "id that begins with a dot": (order(id=".."), ["id"]),
    "id beyond ASCII": (order(id="größe"), ["id"]),
    "digits beyond ASCII in the id": (order(id="a٣"), ["id"]),
    "number for id": (order(id=5), ["id"]),
    "several at once": (order(id="", qty=0, color=1), ["id", "qty", "color"]),
}


@pytest.mark.parametrize(("body", "fields"), WRONG_FIELDS.values(), ids=WRONG_FIELDS.keys())
async def test_each_wrong_field_is_named(served: Gateway, body: bytes, fields: list[str]) -> None:
    """422 with one entry per field, in dotted paths, and a sentence for each."""
    answer = await served.post(body)
    problem = await problem_of(answer)
    assert answer.status == 422
    assert problem["type"] == "/problems/invalid-fields"
    assert sorted(error["field"] for error in problem["errors"]) == sorted(fields)
    assert all(error["message"] for error in problem["errors"])


async def test_thousands_of_wrong_fields_give_a_bounded_answer(served: Gateway) -> None:
    """A small body must not buy a large answer."""
    body = b"{" + b",".join(b'"%d": 1' % number for number in range(5_000)) + b"}"
    answer = await served.post(body)
    assert answer.status == 422
    assert len((await problem_of(answer))["errors"]) == 20
    assert len(await answer.read()) < 3_000


MANY_FAULTS = {
    "unknown keys": {**GOOD, **{f"k{number}": 1 for number in range(6_500)}},
    "unknown keys in an item": {"id": "o", "items": [ITEM | {f"k{number}": 1 for number in range(6_500)}]},
    "unknown keys in each of many items": {
        "id": "o",
        "items": [{f"k{number}": 1 for number in range(60)} for _ in range(100)],
    },
    "100 items that are wrong throughout": {"id": "o", "items": [{"sku": "", "qty": 0}] * 100},
    "20,000 items that are none": {"id": "o", "items": [1] * 20_000},
    "15,000 items without anything": {"id": "o", "items": [{}] * 15_000},
    "a list for a number": GOOD | {"qty": [1] * 20_000},
    "the same SKU in each item": {"id": "o", "items": [ITEM] * 100},
}


@pytest.mark.parametrize("value", MANY_FAULTS.values(), ids=MANY_FAULTS.keys())
def test_looking_for_faults_ends_with_the_twentieth(value: dict[str, Any]) -> None:
    """A body of thousands of faults costs no more than to be parsed; building all took ten times that."""
    body = json.dumps(value, separators=(",", ":")).encode()
    assert len(body) <= LIMITS.body_bytes

    def judge() -> None:
        with pytest.raises(Problem) as caught:
            read_order(value, id_required=True)
        assert 1 <= len(caught.value.members["errors"]) <= 20
        assert all(len(error.field) + len(error.message) < 300 for error in caught.value.members["errors"])

    assert fastest(judge) < max(fastest(lambda: parse_json(body)), ORDINARY_REFUSAL_SECONDS)


def fastest(action: Callable[[], object]) -> float:
    """The least time of several, in seconds: what else the machine does can only add to it."""
    return min(timeit.repeat(action, number=1, repeat=20))


@pytest.mark.parametrize(("whole", "qty"), [("2.0", 2), ("2e0", 2), ("20E-1", 2), ("1e4", 10_000)])
async def test_a_number_that_is_whole_is_an_integer(whole: str, qty: int) -> None:
    """As JSON Schema has it, however it is written."""
    async with gateway() as served:
        assert (await served.post(order().replace(b"2}", f"{whole}}}".encode()))).status == 202
        assert served.intake.placements[0].order.items[0].qty == qty


async def test_a_long_unknown_field_is_cut(served: Gateway) -> None:
    """Its name comes from the client."""
    answer = await served.post(order(**{"x" * 50_000: 1}))
    assert answer.status == 422
    assert len(await answer.read()) < 2_000


@pytest.mark.parametrize(
    "email",
    [
        "a,b@x.example",
        "a;b@x.example",
        '"a b"@x.example',
        '"a"@x.example',
        "a(comment)@x.example",
        "a@x.example(comment)",
        "Ann<a@x.example>",
        "a:b@x.example",
        "a@b@x.example",
        ".a@x.example",
        "a.@x.example",
        "a..b@x.example",
        "a\\b@x.example",
        "a@[127.0.0.1]",
        "a@x.example.",
        "a@x..example",
        "a@-x.example",
        "a@x_y.example",
        f"{'a' * 65}@x.example",
        f"{'ä' * 33}@x.example",
        f"a@{'x' * 64}.example",
        "a\u202eb@x.example",
        "a\u200b@x.example",
        "a\u2028b@x.example",
        "=?utf-8?q?b=40y.example?=@x.example",
    ],
)
async def test_an_address_that_no_letter_can_reach_is_refused(served: Gateway, email: str) -> None:
    """Taken, the order would end as a dead letter of the notifier, which judges by the same function."""
    problem = await problem_of(await served.post(order(email=email)))
    assert (problem["status"], [error["field"] for error in problem["errors"]]) == (422, ["email"])


async def test_addresses_that_letters_can_reach_are_taken() -> None:
    """As they were sent: the fingerprint and the order keep what the client wrote."""
    async with gateway() as served:
        addresses = [
            "o'neil+tag@sub.x.example",
            "root@localhost",
            "a@EXÄMPLE.example",
            f"{'a' * 64}@x.example",
        ]
        for number, email in enumerate(addresses):
            assert (await served.post(order(id=f"o{number}", email=email))).status == 202
        assert [placement.order.email for placement in served.intake.placements] == addresses


MEDIA_TYPES = ["", "text/plain", "application/json, text/plain", "application/jsonp", "application/*", "json"]
CHARSETS = ["utf-16", "iso-8859-1", "", '"utf-8', "utf-8; charset=utf-16"]


@pytest.mark.parametrize(
    "media_type",
    [*MEDIA_TYPES, *(f"application/json; charset={charset}" for charset in CHARSETS)],
)
async def test_another_media_type_is_415(served: Gateway, media_type: str) -> None:
    """Only JSON in UTF-8 is taken."""
    answer = await served.post(order(), Content_Type=media_type)
    assert answer.status == 415
    await problem_of(answer)


async def test_no_media_type_is_415(served: Gateway) -> None:
    """Nothing is guessed."""
    request = b"POST /orders HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    assert (await served.raw(request)).startswith(b"HTTP/1.1 415 ")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity", "nonsense"])
async def test_any_content_encoding_is_415(served: Gateway, coding: str) -> None:
    """Nothing is unpacked, so nothing can grow."""
    request = (
        HEAD + f"Content-Encoding: {coding}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    )
    answer = await served.raw(request)
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert b"problem+json" in answer


async def test_a_body_that_says_it_is_too_long_is_413(served: Gateway) -> None:
    """Without waiting for it."""
    answer = await served.raw(HEAD + b"Content-Length: 65537\r\n\r\n{")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"problem+json" in answer


async def test_a_body_that_is_too_long_is_413(served: Gateway) -> None:
    """The client that sends all of it gets to read the answer."""
    answer = await served.post(b" " * 65_537)
    assert (answer.status, (await problem_of(answer))["type"]) == (413, "/problems/body-too-large")


async def test_a_chunked_body_that_is_too_long_is_413(served: Gateway) -> None:
    """Chunks do not say how long they will be together."""
    chunks = (b"4000\r\n" + b" " * 0x4000 + b"\r\n") * 5
    answer = await served.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"problem+json" in answer


@pytest.mark.parametrize(
    "begun",
    [
        b"Content-Length: 60\r\n\r\n",
        b"Content-Length: 60\r\n\r\n{",
        b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ],
    ids=["nothing", "a byte", "a chunk"],
)
async def test_a_slow_body_is_408_and_the_connection_ends(served: Gateway, begun: bytes) -> None:
    """The rest of it never comes."""
    answer = await served.raw(HEAD + begun)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"problem+json" in answer
    assert b"Connection: close" in answer


async def test_a_body_framed_wrongly_is_400(served: Gateway) -> None:
    """A chunk whose size is no number, in the middle of a body."""
    answer = await served.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\nzz\r\n")
    assert answer.split()[1] == b"400"
    assert b"problem+json" in answer


async def test_a_method_that_is_not_served_is_405(served: Gateway) -> None:
    """``Allow`` names those that are."""
    for path, allowed in (
        ("/orders", {"GET", "HEAD", "POST"}),
        ("/orders/order123", {"GET", "HEAD"}),
        ("/inventory/a", {"GET", "HEAD", "PUT", "PATCH", "DELETE"}),
    ):
        for method in {"DELETE", "OPTIONS", "TRACE"} - allowed:
            answer = await served.send(method, path)
            assert answer.status == 405
            assert set(answer.headers["Allow"].split(", ")) == allowed
            assert (await problem_of(answer))["type"] == "/problems/method-not-allowed"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/orders/",
        "/orders/a/b",
        "/orders/-a",
        "/orders/%2e%2e",
        "/orders/a%0a",
        "/orders/a%00",
        "/orders/a%2fb",
        "/orders/%ff",
        "/orders/" + "a" * 65,
        "/inventory/a%20b",
        "/inventory/" + "a" * 65,
    ],
)
async def test_what_could_not_be_is_404(served: Gateway, path: str) -> None:
    """No store is asked for an id that no order can have."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    answer = await served.raw(request)
    assert answer.startswith(b"HTTP/1.1 404 ")
    problem = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert problem["instance"] == path


NOT_REQUESTS = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00<script>\r\n\r\n",
    "unknown version": b"GET /<script> HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "unknown method": b"<script> /orders HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "space in a header name": b"GET / HTTP/1.1\r\nHo st<script>: x\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nX: <script>\x00\r\n\r\n",
    "a line of 9,000 bytes": b"GET /<script>" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a header of 9,000 bytes": b"GET / HTTP/1.1\r\nX: <script>" + b"a" * 9_000 + b"\r\n\r\n",
    "300 headers": b"GET / HTTP/1.1\r\n" + b"X: <script>\r\n" * 300 + b"\r\n",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n<script>",
    "length and chunks": HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "negative length": HEAD + b"Content-Length: -5\r\n\r\n",
    "length of 20 digits": HEAD + b"Content-Length: 99999999999999999999\r\n\r\n",
    "bytes beyond ASCII in the path": b"GET /orders/\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no slash": b"GET orders HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", NOT_REQUESTS.values(), ids=NOT_REQUESTS.keys())
async def test_what_is_no_request_is_400_and_not_echoed(served: Gateway, request_bytes: bytes) -> None:
    """The parser's own errors are problems too, with a correlation id."""
    answer = await served.raw(request_bytes)
    head, _, body = answer.partition(b"\r\n\r\n")
    problem = json.loads(body)
    assert head.split()[1] == b"400"
    assert problem["type"] == "/problems/malformed-request"
    assert f"X-Correlation-ID: {problem['correlation_id']}".encode() in head
    assert b"application/problem+json" in head
    assert b"script" not in answer


@pytest.mark.parametrize("path", ["/orders", "/nothing"])
async def test_an_unknown_expectation_is_417_and_not_echoed(served: Gateway, path: str) -> None:
    """The library answers it before any route, in plain text with the header in it."""
    request = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nExpect: <script>\r\nContent-Length: 0\r\n\r\n"
    answer = await served.raw(request.encode())
    assert answer.startswith(b"HTTP/1.1 417 ")
    assert b"X-Correlation-ID" in answer
    assert b"problem+json" in answer
    assert b"script" not in answer
