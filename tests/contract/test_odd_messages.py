"""What other producers may write into the properties of a message keeps no neighbour from its consumer."""

from collections.abc import Mapping
from typing import Any

import aiormq
import pytest
from aiormq import spec
from pamqp import encode

from shared.messaging.ports import Delivery
from shared.pipeline import ORDER_PROCESSOR
from tests.contract.conftest import BrokerUnderTest
from tests.contract.test_broker import order_placed, receive
from tests.harness.running import Pipeline

pytestmark = [pytest.mark.broker, pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)]

NOT_UTF8 = b"\xff" * 255
FAR_FUTURE = 1_700_000_000_000_000
"""A timestamp in microseconds, where AMQP has seconds."""


class _RawTimestamp(int):
    """Written into a header as it is, not as the library would have it."""


@pytest.fixture
def writes_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets this process write what a careless producer in another language would."""
    text, timestamp, value = encode.short_string, encode.timestamp, encode.encode_table_value
    monkeypatch.setitem(
        encode.METHODS, "shortstr", lambda v: bytes([len(v)]) + v if isinstance(v, bytes) else text(v)
    )
    monkeypatch.setitem(
        encode.METHODS, "timestamp", lambda v: v.to_bytes(8, "big") if isinstance(v, int) else timestamp(v)
    )
    monkeypatch.setattr(
        encode,
        "encode_table_value",
        lambda v: b"T" + v.to_bytes(8, "big") if isinstance(v, _RawTimestamp) else value(v),
    )


async def _publish(pipeline: Pipeline, queue: str, **properties: Any) -> None:
    connection = await aiormq.connect(pipeline.cluster.rabbitmq_urls[0])
    async with connection:
        channel = await connection.channel()
        await channel.basic_publish(
            b"odd", routing_key=queue, properties=spec.Basic.Properties(delivery_mode=2, **properties)
        )


@pytest.mark.parametrize(
    "properties",
    [
        {"timestamp": FAR_FUTURE},
        {"timestamp": 2**64 - 1},
        {"correlation_id": NOT_UTF8},
        {"headers": {"sent": _RawTimestamp(FAR_FUTURE)}},
    ],
    ids=["microseconds", "no time at all", "not UTF-8", "in a header"],
)
@pytest.mark.usefixtures("writes_anything")
async def test_a_message_with_an_unreadable_property_is_delivered_and_so_are_its_neighbours(
    broker: BrokerUnderTest, running_pipeline: Pipeline, properties: Mapping[str, Any]
) -> None:
    """It comes once, with the rest of what it says, and can be published again as it is."""
    queue = ORDER_PROCESSOR.queue
    await broker.publisher.publish(order_placed(b"before"))
    await _publish(running_pipeline, queue, **properties)
    await broker.publisher.publish(order_placed(b"after"))
    async with broker.subscriber.subscribe(queue, prefetch=10) as subscription:
        deliveries = await receive(subscription, 3)
        await broker.publisher.publish(_again(deliveries[1]))
        await subscription.ack(deliveries[-1])
    assert [delivery.body for delivery in deliveries] == [b"before", b"odd", b"after"]
    assert not any(delivery.redelivered for delivery in deliveries)


@pytest.mark.usefixtures("writes_anything")
async def test_dead_letters_can_be_looked_at_around_one_with_an_unreadable_property(
    broker: BrokerUnderTest, running_pipeline: Pipeline
) -> None:
    """It lies there like any other letter and can be taken out."""
    queue = ORDER_PROCESSOR.dead_queue
    await _publish(running_pipeline, queue, timestamp=FAR_FUTURE)
    async with broker.dead_letters.look_into(queue) as letters:
        (letter,) = await letters.next(10)
        await letters.remove(letter)
    assert letter.body == b"odd"


def _again(delivery: Delivery) -> Any:
    return order_placed(delivery.body, **delivery.headers)
