"""Placing orders over HTTP: every case of the contract's table."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from api_gateway.ports import NotDurable
from shared.errors import StoreUnavailable
from shared.http.limits import HttpLimits
from shared.messages import Order, OrderItem
from shared.orders.placement import OutboxFull
from tests.harness.http_gateway import Gateway, gateway, problem_of
from tests.harness.waiting import wait_until

ONE_ITEM = '{"id": "order123", "sku": "mag-safe-phone-case", "qty": 2}'
SAME_AS_ITEMS = '{"items": [{"qty": 2, "sku": "mag-safe-phone-case"}], "email": null, "id": "order123"}'
WITHOUT_ID = '{"sku": "mag-safe-phone-case", "qty": 2}'
RECEIPT = {
    "id": "order123",
    "status": "accepted",
    "message": "Order received: order123",
    "links": {"self": "/orders/order123"},
}


@pytest.fixture
async def served() -> AsyncIterator[Gateway]:
    """A gateway with nothing in it."""
    async with gateway() as running:
        yield running


async def test_an_order_is_accepted(served: Gateway) -> None:
    """202 with a receipt and where to find the order."""
    answer = await served.post(ONE_ITEM)
    assert answer.status == 202
    assert answer.content_type == "application/json"
    assert answer.headers["Location"] == "/orders/order123"
    assert await answer.json() == RECEIPT


async def test_both_forms_mean_the_same_order(served: Gateway) -> None:
    """The shorthand is one item, and a null e-mail is none."""
    await served.post(ONE_ITEM)
    await served.post(SAME_AS_ITEMS.replace("order123", "order124"))
    first, second = (placed.order for placed in served.intake.placements)
    item = OrderItem(sku="mag-safe-phone-case", qty=2)
    assert first == Order(id="order123", items=(item,))
    assert second == Order(id="order124", items=(item,))


async def test_all_of_an_order_is_handed_on(served: Gateway) -> None:
    """Items in their order, and the e-mail address."""
    body = (
        '{"id": "o", "email": "a@example.com", "items": [{"sku": "b", "qty": 1}, {"sku": "a", "qty": 10000}]}'
    )
    await served.post(body, traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
    (placement,) = served.intake.placements
    assert placement.order.email == "a@example.com"
    assert placement.order.items == (OrderItem(sku="b", qty=1), OrderItem(sku="a", qty=10_000))
    assert placement.client_named_id
    assert placement.idempotency_key is None
    assert placement.trace.traceparent == "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def test_plain_text_is_for_those_who_name_it(served: Gateway) -> None:
    """Exactly the original's line."""
    answer = await served.post(ONE_ITEM, Accept="text/plain")
    assert (answer.status, answer.content_type) == (202, "text/plain")
    assert await answer.read() == b"Order received: order123"
    assert answer.headers["Location"] == "/orders/order123"


@pytest.mark.parametrize(
    "accept", ["*/*", "text/*", "text/html,*/*;q=0.8", "application/json, text/plain;q=0.5"]
)
async def test_wildcards_mean_json(served: Gateway, accept: str) -> None:
    """So curl and browsers get JSON."""
    answer = await served.post(ONE_ITEM, Accept=accept)
    assert await answer.json() == RECEIPT


async def test_the_same_id_again_is_a_duplicate(served: Gateway) -> None:
    """409 says how the order stands and whether the content is the same."""
    await served.post(ONE_ITEM)
    same = await served.post(SAME_AS_ITEMS)
    assert same.status == 409
    problem = await problem_of(same)
    assert problem["title"] == "Duplicate order"
    assert problem["type"] == "/problems/duplicate-order"
    assert problem["instance"] == "/orders"
    assert (problem["order_status"], problem["same_content"]) == ("created", True)
    assert same.headers["Location"] == "/orders/order123"


async def test_other_content_under_the_same_id_is_told_apart(served: Gateway) -> None:
    """``same_content`` is false."""
    await served.post(ONE_ITEM)
    answer = await served.post(ONE_ITEM.replace('"qty": 2', '"qty": 3'))
    assert (await problem_of(answer))["same_content"] is False


async def test_a_duplicate_in_plain_text(served: Gateway) -> None:
    """Exactly the original's line."""
    await served.post(ONE_ITEM)
    answer = await served.post(ONE_ITEM, Accept="text/plain")
    assert (answer.status, answer.content_type) == (409, "text/plain")
    assert await answer.read() == b"Duplicate order"
    assert answer.headers["Location"] == "/orders/order123"


async def test_a_key_replays_the_first_answer(served: Gateway) -> None:
    """Status, body, Content-Type and Location are the first ones, whatever is accepted now."""
    first = await served.post(ONE_ITEM, Idempotency_Key="k1")
    again = await served.post(ONE_ITEM, Idempotency_Key="k1", Accept="text/plain")
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    for name in ("Content-Type", "Location"):
        assert again.headers[name] == first.headers[name]
    assert (again.status, await again.read()) == (first.status, await first.read())


async def test_a_key_replays_plain_text_as_plain_text(served: Gateway) -> None:
    """To somebody who now asks for JSON too."""
    await served.post(ONE_ITEM, Idempotency_Key="k1", Accept="text/plain")
    again = await served.post(ONE_ITEM, Idempotency_Key="k1")
    assert again.content_type == "text/plain"
    assert await again.read() == b"Order received: order123"


async def test_a_key_lets_the_server_make_the_id(served: Gateway) -> None:
    """And the replay names the same one."""
    first = await served.post(WITHOUT_ID, Idempotency_Key="k1")
    again = await served.post(WITHOUT_ID, Idempotency_Key="k1")
    (placement,) = served.intake.placements
    assert not placement.client_named_id
    assert (await first.json())["id"] == placement.order.id == (await again.json())["id"]
    assert len(placement.order.id) == 36


async def test_neither_key_nor_id_names_the_id(served: Gateway) -> None:
    """422, beside whatever else is wrong."""
    for body in (WITHOUT_ID, '{"id": null, "sku": "a", "qty": 1}'):
        problem = await problem_of(await served.post(body))
        assert (problem["status"], [error["field"] for error in problem["errors"]]) == (422, ["id"])
    problem = await problem_of(await served.post('{"sku": "a", "qty": 0}'))
    assert [error["field"] for error in problem["errors"]] == ["qty", "id"]


async def test_a_key_with_other_content_is_refused(served: Gateway) -> None:
    """422, and where the first order is."""
    await served.post(ONE_ITEM, Idempotency_Key="k1")
    answer = await served.post(ONE_ITEM.replace('"qty": 2', '"qty": 3'), Idempotency_Key="k1")
    problem = await problem_of(answer)
    assert (problem["status"], problem["type"]) == (422, "/problems/idempotency-key-reused")


@pytest.mark.parametrize("key", ["", " ", "a b", "a\tb", "ä", "x" * 256], ids=repr)
async def test_a_key_is_visible_ascii(served: Gateway, key: str) -> None:
    """1 to 255 characters; anything else is 400."""
    answer = await served.post(ONE_ITEM, Idempotency_Key=key)
    assert (await problem_of(answer))["type"] == "/problems/invalid-header"
    assert answer.status == 400


async def test_the_longest_key_is_taken(served: Gateway) -> None:
    """255 characters, any visible one."""
    key = "!~" + "x" * 253
    assert (await served.post(ONE_ITEM, Idempotency_Key=key)).status == 202
    assert served.intake.placements[0].idempotency_key == key


async def test_several_keys_are_refused(served: Gateway) -> None:
    """Which one counts would be a guess."""
    head = (
        "POST /orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    )
    keys = "Idempotency-Key: a\r\nIdempotency-Key: b\r\n"
    answer = await served.raw(f"{head}{keys}Content-Length: {len(ONE_ITEM)}\r\n\r\n{ONE_ITEM}".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"invalid-header" in answer


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (StoreUnavailable("Redis: connection to 10.0.0.7:6379 refused"), "store-unavailable"),
        (NotDurable("no broker"), "not-durable"),
        (OutboxFull("full"), "outbox-full"),
    ],
)
async def test_what_cannot_be_done_now_is_503(served: Gateway, fault: Exception, kind: str) -> None:
    """With Retry-After, and without a word about our insides."""
    served.intake.fault = fault
    answer = await served.post(ONE_ITEM)
    problem = await problem_of(answer)
    assert (answer.status, problem["type"]) == (503, f"/problems/{kind}")
    assert int(answer.headers["Retry-After"]) >= 1
    assert "10.0.0.7" not in await answer.text()
    assert not isinstance(fault, StoreUnavailable) or "refused" in problem["detail"]


async def test_a_fault_of_ours_is_500_without_insides(
    served: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the client learns the id under which."""
    served.intake.fault = RuntimeError("secret")
    answer = await served.post(ONE_ITEM)
    assert answer.status == 500
    assert (await problem_of(answer))["type"] == "/problems/internal"
    assert "secret" not in await answer.text()


async def test_past_the_limit_requests_are_turned_away_at_once() -> None:
    """503 with Retry-After, nothing accepted, and those inside are unharmed."""
    async with gateway(HttpLimits(max_concurrent_requests=2)) as served:
        served.intake.gate = asyncio.Event()
        inside = [asyncio.ensure_future(served.post(ONE_ITEM.replace("123", str(n)))) for n in range(2)]
        await wait_until(lambda: served.intake.waiting == 2)
        refused = await served.post(ONE_ITEM)
        assert (await problem_of(refused))["type"] == "/problems/too-busy"
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        served.intake.gate.set()
        assert [answer.status for answer in await asyncio.gather(*inside)] == [202, 202]
        assert (await served.post(ONE_ITEM)).status == 202
        assert len(served.intake.placements) == 3


async def test_a_client_without_room_is_told_to_come_later(served: Gateway) -> None:
    """503 for what is new, and the usual answers for what is known; what was stored is counted once."""
    body = '{"id": "order123", "sku": "cable", "qty": 2}'
    assert (await served.post(body)).status == 202
    served.budget.refused.add("127.0.0.1")
    problem = await problem_of(refused := await served.post(body.replace("order123", "other")))
    assert (problem["type"], refused.status) == ("/problems/store-short", 503)
    assert refused.headers["Retry-After"] == "60"
    assert (await served.post(body)).status == 409
    assert served.budget.orders == [("127.0.0.1", "order123")]
