"""Connections and consumers that end or are renewed, at any moment: nothing hangs, nothing is left behind."""

import asyncio
import gc

import aio_pika
import pytest
from aio_pika.abc import AbstractConnection

from shared.messaging.ports import Delivery, OutgoingMessage, Publisher, Subscriber, Subscription
from shared.messaging.rabbitmq import broker as rabbitmq
from shared.messaging.rabbitmq.connection import open_channel
from shared.messaging.rabbitmq.renewal import RenewedSubscription
from shared.pipeline import NOTIFIER
from shared.service.infrastructure import ClusterInfrastructure
from tests.harness.running import Pipeline, settings_of
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

MOMENTS = 40
CHANNELS = 50
DRAINS = 16
PER_DRAIN = 30
ROUND_SECONDS = 0.12
END_SECONDS = 5.0


async def test_a_supervisor_cancelled_at_any_moment_ends(running_pipeline: Pipeline) -> None:
    """No library on the way swallows the cancellation: measured, one in a few did."""
    infrastructure = ClusterInfrastructure(settings_of(running_pipeline.cluster))
    for moment in range(MOMENTS):
        publisher = infrastructure.publisher("cancelled", timeout_seconds=2.0)
        supervising = asyncio.create_task(publisher.run())
        await asyncio.wait({supervising}, timeout=ROUND_SECONDS * moment / MOMENTS)
        supervising.cancel()
        ended, _ = await asyncio.wait({supervising}, timeout=END_SECONDS)
        assert ended, f"still running after a cancellation in moment {moment}"


async def test_a_consumer_that_is_renewed_while_idle_gets_everything_once(
    running_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its lives is known to the queue for certain; one that was forgotten would never learn of it."""
    monkeypatch.setattr(rabbitmq, "IDLE_SECONDS", (0.2, 0.3))
    infrastructure = ClusterInfrastructure(settings_of(running_pipeline.cluster))
    publisher = infrastructure.publisher("idle", timeout_seconds=5.0)
    subscriber = infrastructure.subscriber("idle")
    queue = NOTIFIER.dead_queue
    seen: list[tuple[bytes, bool]] = []
    bodies = [str(number).encode() for number in range(4)]
    supervising = [asyncio.create_task(each.run()) for each in (publisher, subscriber)]
    await publisher.wait_ready()
    async with subscriber.subscribe(queue, prefetch=10) as subscription:
        assert isinstance(subscription, RenewedSubscription)
        for body in bodies:
            receiving = asyncio.create_task(subscription.receive(10))
            already = subscription.renewals
            await wait_until(lambda already=already: subscription.renewals > already, what="a renewal")
            await publisher.publish(OutgoingMessage(exchange="", routing_key=queue, body=body))
            (delivery,) = await receiving
            seen.append((delivery.body, delivery.redelivered))
            await subscription.ack(delivery)
    for task in supervising:
        task.cancel()
    assert seen == [(body, False) for body in bodies]


async def test_a_drain_at_any_moment_of_a_renewal_leaves_nothing_behind(
    running_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured: the next consumer, still being opened, took a whole prefetch along, and all came again."""
    monkeypatch.setattr(rabbitmq, "IDLE_SECONDS", (0.0, 0.0))
    infrastructure = ClusterInfrastructure(settings_of(running_pipeline.cluster))
    publisher = infrastructure.publisher("drained", timeout_seconds=5.0)
    subscriber = infrastructure.subscriber("drained")
    supervising = [asyncio.create_task(each.run()) for each in (publisher, subscriber)]
    await publisher.wait_ready()
    deliveries: list[Delivery] = []
    for number in range(DRAINS):
        bodies = [f"{number}-{position}".encode() for position in range(PER_DRAIN)]
        await _drained_while_fed(publisher, subscriber, bodies, ROUND_SECONDS * number / DRAINS, deliveries)
    async with subscriber.subscribe(NOTIFIER.dead_queue, prefetch=10) as subscription:
        receiving = asyncio.create_task(_receive_all(subscription, deliveries))
        await wait_until(lambda: len(deliveries) >= DRAINS * PER_DRAIN, what="the rest to arrive")
        await subscription.cancel()
        await receiving
    for task in supervising:
        task.cancel()
    assert [delivery.body for delivery in deliveries if delivery.redelivered] == []
    assert len({delivery.body for delivery in deliveries}) == len(deliveries) == DRAINS * PER_DRAIN


async def test_a_closed_channel_leaves_nothing_on_its_connection(running_pipeline: Pipeline) -> None:
    """Measured: 4 kB stayed of each, until the connection ended; an idle consumer takes one every 3 s."""
    url = running_pipeline.cluster.rabbitmq_urls[0]
    connection = await aio_pika.connect(url)
    grown = [await _objects_after_channels(connection) for _ in range(2)]
    await connection.close()
    assert grown[1] - grown[0] < CHANNELS, "fewer than one object of each"


async def _objects_after_channels(connection: AbstractConnection) -> int:
    for _ in range(CHANNELS):
        channel = await open_channel(connection, publishes=False)
        await channel.close()
    gc.collect()
    return len(gc.get_objects())


async def _drained_while_fed(
    publisher: Publisher,
    subscriber: Subscriber,
    bodies: list[bytes],
    drained_after_seconds: float,
    deliveries: list[Delivery],
) -> None:
    queue = NOTIFIER.dead_queue
    async with subscriber.subscribe(queue, prefetch=10) as subscription:
        receiving = asyncio.create_task(_receive_all(subscription, deliveries))
        feeding = asyncio.gather(
            *(
                publisher.publish(OutgoingMessage(exchange="", routing_key=queue, body=body))
                for body in bodies
            )
        )
        await asyncio.wait({receiving}, timeout=drained_after_seconds)
        await subscription.cancel()
        await receiving
    await feeding


async def _receive_all(subscription: Subscription, deliveries: list[Delivery]) -> None:
    while some := await subscription.receive(10):
        deliveries.extend(some)
        await subscription.ack(some[-1])
