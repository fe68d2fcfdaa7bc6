"""Ending a service while it connects: its supervisor ends when it is told to, at any moment."""

import asyncio
import random

import pytest

from shared.infrastructure import ClusterInfrastructure
from shared.messaging.ports import OutgoingMessage
from shared.messaging.renewal import RenewedSubscription
from shared.pipeline import NOTIFIER
from tests.harness.running import Pipeline, settings_of
from tests.harness.waiting import wait_until

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


async def test_a_consumer_that_is_renewed_while_idle_gets_everything_once(running_pipeline: Pipeline) -> None:
    """Each of its lives is known to the queue for certain; one that was forgotten would never learn of it."""
    infrastructure = ClusterInfrastructure(settings_of(running_pipeline.cluster), random.Random(1))
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
