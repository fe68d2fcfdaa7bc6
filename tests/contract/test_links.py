"""Ending a service while it connects: its supervisor ends when it is told to, at any moment."""

import asyncio
import random

import pytest

from shared.infrastructure import ClusterInfrastructure
from shared.messaging.ports import OutgoingMessage
from shared.pipeline import NOTIFIER
from tests.harness.running import Pipeline, settings_of

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

MOMENTS = 40
ROUND_SECONDS = 0.12
END_SECONDS = 5.0


async def test_a_supervisor_cancelled_at_any_moment_ends(running_pipeline: Pipeline) -> None:
    """No library on the way swallows the cancellation: measured, one in a few did."""
    infrastructure = ClusterInfrastructure(settings_of(running_pipeline.cluster), random.Random(1))
    for moment in range(MOMENTS):
        publisher = infrastructure.publisher("cancelled", timeout_seconds=2.0)
        supervising = asyncio.create_task(publisher.run())
        await asyncio.wait({supervising}, timeout=ROUND_SECONDS * moment / MOMENTS)
        supervising.cancel()
        ended, _ = await asyncio.wait({supervising}, timeout=END_SECONDS)
        assert ended, f"still running after a cancellation in moment {moment}"


async def test_an_idle_consumer_ends_by_itself_and_nothing_is_delivered_twice(
    running_pipeline: Pipeline,
) -> None:
    """Its successor is known to the queue for certain; one that was forgotten would never learn of it."""
    infrastructure = ClusterInfrastructure(settings_of(running_pipeline.cluster), random.Random(1))
    publisher = infrastructure.publisher("idle", timeout_seconds=5.0)
    subscriber = infrastructure.subscriber("idle")
    queue = NOTIFIER.dead_queue
    supervising = [asyncio.create_task(each.run()) for each in (publisher, subscriber)]
    await publisher.wait_ready()
    seen: list[tuple[bytes, bool]] = []
    for body in (b"1", b"2"):
        async with subscriber.subscribe(queue, prefetch=10) as subscription:
            await publisher.publish(OutgoingMessage(exchange="", routing_key=queue, body=body))
            while deliveries := await subscription.receive(10):
                seen += [(delivery.body, delivery.redelivered) for delivery in deliveries]
                await subscription.ack(deliveries[-1])
    for task in supervising:
        task.cancel()
    assert seen == [(b"1", False), (b"2", False)]
