"""Orders that are to begin later, over HTTP: what is taken as a time, and what is answered."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from api_gateway.intake import OrderIntake
from api_gateway.ports import NotDurable
from api_gateway.relay import OutboxRemovals
from shared.breaker import Breaker
from shared.errors import PipelineError
from shared.messages import epoch_microseconds
from shared.messaging.memory import MemoryBroker
from shared.orders.placement import OwnScheduleFull, ScheduleFull
from tests.harness.gateway import a_placement, order_store
from tests.harness.http_gateway import Gateway, gateway, problem_of
from tests.harness.stores import store_in_process

AT = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)


def body(moment: object) -> str:
    """An order for then."""
    return f'{{"id": "order123", "sku": "cable", "qty": 2, "not_before": {moment}}}'


@pytest.fixture
async def served() -> AsyncIterator[Gateway]:
    """A gateway with nothing in it."""
    async with gateway() as running:
        yield running


@pytest.mark.parametrize(
    "moment",
    [
        AT.strftime("%Y-%m-%dT%H:%M:%SZ"),
        AT.strftime("%Y-%m-%dt%H:%M:%S.000000z"),
        AT.astimezone(tz=None).isoformat(),
        (AT + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+02:00"),
    ],
    ids=["Z", "small letters", "local", "another zone"],
)
async def test_a_time_means_the_same_in_every_zone(served: Gateway, moment: str) -> None:
    """In RFC 3339; it is handed on in microseconds."""
    answer = await served.post(body(f'"{moment}"'))
    assert answer.status == 202
    (placement,) = served.intake.placements
    assert placement.not_before == epoch_microseconds(AT)


@pytest.mark.parametrize(
    "moment",
    [
        '"tomorrow"',
        '"2030-01-31T09:00:00"',
        '"2030-01-31"',
        '"2030-02-31T09:00:00Z"',
        '"2030-01-31T09:00:00Z\\n"',
        '""',
        "1900000000",
        "true",
        f'"{(AT + timedelta(days=89)).isoformat()}"',
    ],
    ids=["word", "no zone", "day", "no day", "line", "nothing", "number", "truth", "far"],
)
async def test_what_is_no_time_or_too_far_ahead_is_named(served: Gateway, moment: str) -> None:
    """422 with the field; nothing is accepted."""
    answer = await served.post(body(moment))
    problem = await problem_of(answer)
    assert (answer.status, [error["field"] for error in problem["errors"]]) == (422, ["not_before"])
    assert served.intake.placements == []


async def test_a_receipt_says_that_it_is_scheduled_and_for_when(served: Gateway) -> None:
    """The answer to one that begins at once is what it ever was."""
    served.intake.begins = epoch_microseconds(AT)
    answer = await (await served.post(body(f'"{AT.isoformat()}"'))).json()
    assert (answer["status"], datetime.fromisoformat(answer["not_before"])) == ("scheduled", AT)


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [(ScheduleFull, 503, "schedule-full"), (OwnScheduleFull, 429, "own-schedule-full")],
)
async def test_a_full_calendar_is_told(
    served: Gateway, fault: type[PipelineError], status: int, kind: str
) -> None:
    """Everybody's, and the customer's own, with when to ask again."""
    served.intake.fault = fault("100 orders wait for their time already, which is the most")
    answer = await served.post(body(f'"{AT.isoformat()}"'))
    problem = await problem_of(answer)
    assert (answer.status, problem["type"]) == (status, f"/problems/{kind}")
    assert "100 orders wait" in problem["detail"]
    assert int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(("is_durable", "is_volatile"), [(True, False), (False, True), (False, False)])
async def test_a_store_that_may_forget_takes_no_order_for_later(
    *, is_durable: bool, is_volatile: bool
) -> None:
    """No broker holds it until its time comes. Where nothing is meant to last, nothing is promised either."""
    async with store_in_process() as redis:
        store = order_store(redis)
        intake = OrderIntake(
            store=store,
            publisher=MemoryBroker(),
            confirmed=OutboxRemovals(None),  # type: ignore[arg-type]  # nothing is confirmed
            breaker=Breaker(known_down=lambda: False),
            store_is_durable=lambda: is_durable,
            is_volatile=is_volatile,
        )
        placement = a_placement(not_before=epoch_microseconds(AT))
        if is_durable or is_volatile:
            await intake.place(placement)
            assert await store.get(placement.order.id) is not None
        else:
            with pytest.raises(NotDurable):
                await intake.place(placement)
            assert await store.get(placement.order.id) is None
