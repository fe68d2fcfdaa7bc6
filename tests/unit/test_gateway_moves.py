"""Moving orders over HTTP, from the request to the event: the table, who may, and repetitions."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession
from prometheus_client import CollectorRegistry

from api_gateway.announcing import AnnouncedMoves
from api_gateway.app import build_app, table
from shared import keyspace
from shared.errors import BrokerUnavailable
from shared.http.client import ServiceAnswer
from shared.http.limits import HttpLimits
from shared.http.metrics import HttpMetrics
from shared.http.server import serve
from shared.messaging.memory import MemoryBroker
from shared.orders.model import MOVES, OrderStatus
from shared.orders.moves import ANNOUNCED, EVENT_TYPES, allowed_from
from shared.orders.redis.moves import RedisMoves
from shared.redis.lease import Lease
from tests.harness.decisions import A_CENTURY, decide_one, stocked, store_recreating
from tests.harness.endpoints import an_endpoint
from tests.harness.examples import an_order, placed
from tests.harness.gateway import a_placement, order_store
from tests.harness.http_gateway import (
    MemoryBudget,
    MemoryIntake,
    MemoryLedger,
    MemoryStock,
    no_events,
    problem_of,
)
from tests.harness.moving import WAY, ended
from tests.harness.paying import created_order
from tests.harness.routing import InterruptiblePublisher
from tests.harness.stores import as_service, store_in_process
from tests.harness.tokens import ALICE, BOB, OPERATOR, a_guard, bearer

STANDING = [status for status in OrderStatus if status is not OrderStatus.SCHEDULED]


@dataclass(slots=True)
class MovingGateway:
    """A gateway with a store and a broker of its own, as far as it moves orders."""

    redis: Any
    session: ClientSession
    publisher: InterruptiblePublisher
    moves: AnnouncedMoves
    ledger: MemoryLedger

    async def ask(
        self, body: object, order_id: str = "a", **headers: str
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, body and headers of the answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.patch(
            f"/orders/{order_id}/status",
            data=orjson.dumps(body),
            headers={"Content-Type": "application/json", **named},
        ) as answer:
            await answer.read()
            found = await answer.json() if answer.ok else await problem_of(answer)
            return answer.status, found, answer.headers

    async def standing(self, status: OrderStatus, customer: str | None = None) -> None:
        """The order ``a``, in this status."""
        order = an_order("a", cable=99 if status is OrderStatus.REJECTED else 3)
        await order_store(self.redis).accept(a_placement(order, customer=customer))
        if status is not OrderStatus.ACCEPTED:
            await decide_one(store_recreating(self.redis, A_CENTURY), placed(order))
        ways = {OrderStatus.CANCELLED: (status,)} | {to: WAY[: WAY.index(to) + 1] for to in WAY}
        if status in ways:
            await ended(self.redis, "a", *ways[status])


@asynccontextmanager
async def moving_gateway() -> AsyncIterator[MovingGateway]:
    """One on a free port of loopback, which takes requests without a token too."""
    async with store_in_process() as redis:
        await stocked(redis, cable=10)
        own, publisher = as_service(redis, "api_gateway"), InterruptiblePublisher(MemoryBroker())
        store = order_store(redis)
        moves = AnnouncedMoves(
            RedisMoves(own, timeout_seconds=5.0),
            store,
            publisher,
            Lease(own, keyspace.MOVES_LEASE, timeout_seconds=5.0),
        )
        own_routes = table(
            intake=MemoryIntake(),
            orders=store,
            moves=moves,
            ledger=(ledger := MemoryLedger()),
            stock=MemoryStock(),
            budget=MemoryBudget(),
            limits=HttpLimits(),
            events=no_events(),
        )
        app = build_app(own_routes, a_guard())
        async with (
            serve(app, an_endpoint(), HttpMetrics(CollectorRegistry())) as port,
            ClientSession(f"http://127.0.0.1:{port}") as session,
        ):
            yield MovingGateway(redis=redis, session=session, publisher=publisher, moves=moves, ledger=ledger)


@pytest.fixture
async def served() -> AsyncIterator[MovingGateway]:
    """One with cables."""
    async with moving_gateway() as made:
        yield made


@pytest.mark.parametrize(("status", "to"), list(product(STANDING, EVENT_TYPES)))
async def test_every_move_from_every_status_is_answered_by_the_table(
    served: MovingGateway, status: OrderStatus, to: OrderStatus
) -> None:
    """What is allowed happens and is announced; the rest is 409 and says what is allowed instead."""
    await served.standing(status)
    answered, body, _ = await served.ask({"status": to.value})
    await served.moves.announce_all()
    if to in MOVES[status]:
        assert (answered, body["status"]) == (200, to.value)
        assert body["timeline"][-1]["step"] == to.value
        assert served.publisher.event_ids() == [f"a:{ANNOUNCED[to]}"]
    elif to is status:
        assert (answered, body["status"], served.publisher.event_ids()) == (200, to.value, [])
    else:
        assert (answered, body["order_status"]) == (409, status.value)
        assert body["allowed"] == [each.value for each in allowed_from(status)]
        assert body["type"].endswith("illegal-move")
        assert served.publisher.event_ids() == []


async def test_customers_cancel_their_own_orders_and_nothing_else(served: MovingGateway) -> None:
    """Another's is as one that is not there."""
    await served.standing(OrderStatus.CREATED, customer="alice")
    assert (await served.ask({"status": "cancelled"}, **bearer(BOB)))[0] == 404
    assert (await served.ask({"status": "cancelled"}))[0] == 404
    assert (await served.ask({"status": "processing"}, **bearer(ALICE)))[0] == 403
    status, body, _ = await served.ask({"status": "cancelled", "reason": "ordered twice"}, **bearer(ALICE))
    assert (status, body["status"]) == (200, "cancelled")
    assert {"reason": "ordered twice", "by": "alice"}.items() <= body["timeline"][-1].items()
    assert await served.redis.get("inventory:cable") == "10"


@pytest.mark.parametrize("separator", ["\u2028", "\u2029"])
async def test_a_reason_may_have_separators_of_lines_of_its_own(
    served: MovingGateway, separator: str
) -> None:
    """It is one step all the same: the order can be read, and its move is announced."""
    await served.standing(OrderStatus.CREATED, customer="alice")
    reason = f"ordered{separator}twice"
    status, body, _ = await served.ask({"status": "cancelled", "reason": reason}, **bearer(ALICE))
    assert (status, body["timeline"][-1]["reason"]) == (200, reason)
    await served.moves.announce_all()
    assert served.publisher.event_ids() == [f"a:{ANNOUNCED[OrderStatus.CANCELLED]}"]


async def test_an_operator_moves_any_order(served: MovingGateway) -> None:
    """And the step says who did."""
    await served.standing(OrderStatus.CREATED, customer="alice")
    _, body, _ = await served.ask({"status": "processing"}, **bearer(OPERATOR))
    assert body["timeline"][-1]["by"] == "olga"
    assert (await served.ask({"status": "shipped"}, "none"))[0] == 404


async def test_a_move_that_rests_on_an_older_version_is_refused(served: MovingGateway) -> None:
    """With the version of now, under which it is asked again."""
    await served.standing(OrderStatus.CREATED)
    async with served.session.get("/orders/a") as answer:
        seen = answer.headers["ETag"]
    assert (await served.ask({"status": "processing"}, If_Match=seen))[0] == 200
    status, body, headers = await served.ask({"status": "cancelled"}, If_Match=seen)
    assert (status, body["type"].rpartition("/")[2]) == (412, "order-changed")
    assert (await served.ask({"status": "cancelled"}, If_Match=headers["ETag"]))[0] == 200


async def test_a_repeated_request_has_the_first_answer(served: MovingGateway) -> None:
    """However far the order has moved on since; the key of another move is refused."""
    await served.standing(OrderStatus.CREATED)
    async with served.session.get("/orders/a") as answer:
        first = {"If_Match": answer.headers["ETag"], "Idempotency_Key": "k"}
    for _ in range(2):
        assert (await served.ask({"status": "processing"}, **first))[0] == 200
        await served.ask({"status": "shipped"})
    assert (await served.ask({"status": "delivered"}, Idempotency_Key="k"))[0] == 422
    assert (await served.ask({"status": "delivered"}, Idempotency_Key="ü"))[0] == 400


@pytest.mark.parametrize(
    "body",
    [
        {"status": "accepted"},
        {"status": "lost"},
        {},
        {"status": "shipped", "when": 1},
        {"status": "shipped", "reason": "a\nb"},
        {"status": "shipped", "reason": "x" * 201},
    ],
)
async def test_what_cannot_be_asked_for_names_its_field(served: MovingGateway, body: object) -> None:
    """Decisions among it: they are the processor's."""
    await served.standing(OrderStatus.CREATED)
    status, problem, _ = await served.ask(body)
    assert status == 422
    assert problem["errors"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"status": "lost"}, f"must be one of {', '.join(EVENT_TYPES)}"),
        ({"reason": "a\nb"}, "must be 1 to 200 characters, none of them a control character"),
    ],
)
async def test_what_is_wrong_with_a_move_is_said_in_words(
    served: MovingGateway, wrong: Mapping[str, str], message: str
) -> None:
    """As it is to be sent, and by its own rule: a reason is no identifier."""
    _, problem, _ = await served.ask({"status": "shipped", **wrong})
    assert [error["message"] for error in problem["errors"]] == [message]


async def test_moves_are_announced_once_the_broker_is_back_and_in_their_order(served: MovingGateway) -> None:
    """What was confirmed is not published again; a move without a record that can be read waits."""
    await served.standing(OrderStatus.CREATED)
    served.publisher.away = True
    for to in WAY:
        await served.ask({"status": to.value})
    await served.redis.zadd(keyspace.MOVES, {"gone:shipped": 1})
    with pytest.raises(BrokerUnavailable):
        await served.moves.announce_all()
    served.publisher.away = False
    await served.moves.announce_all()
    assert served.publisher.event_ids() == [f"a:{ANNOUNCED[to]}" for to in WAY]
    assert await served.redis.zrange(keyspace.MOVES, 0, -1) == ["gone:shipped"]
    assert await served.moves.announce_all() == 0


async def test_an_order_that_is_to_be_paid_for_waits_for_its_payment() -> None:
    """The answer says where the payment stands, and what can be asked for instead."""
    async with moving_gateway() as gateway:
        await created_order(gateway.redis, an_order("a", cable=3))
        status, body, _ = await gateway.ask({"status": "processing"})
        assert (status, body["type"], body["payment"]) == (409, "/problems/not-paid", "pending")
        assert (body["order_status"], body["allowed"]) == ("created", ["cancelled"])
        status, body, _ = await gateway.ask({"status": "cancelled"})
        assert (status, body["status"], body["payment"]) == (200, "cancelled", "pending")


async def test_an_order_that_only_the_ledger_knows_is_at_its_end() -> None:
    """It cannot become anything, which is told to who may see it; what nobody knows is not there."""
    async with moving_gateway() as gateway:
        body = orjson.dumps({"status": "delivered"})
        gateway.ledger.answers["GET", "/orders/old"] = ServiceAnswer(status=200, headers={}, body=body)
        status, problem, _ = await gateway.ask({"status": "cancelled"}, "old")
        assert (status, problem["type"]) == (409, "/problems/illegal-move")
        assert (problem["order_status"], problem["allowed"]) == ("delivered", [])
        assert (await gateway.ask({"status": "cancelled"}, "unheard-of"))[0] == 404
        gateway.ledger.reason = "does not answer"
        assert (await gateway.ask({"status": "cancelled"}, "old"))[0] == 503
