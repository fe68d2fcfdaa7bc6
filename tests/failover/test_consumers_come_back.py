"""Whatever ends a consumer, it is consuming again within seconds."""

from contextlib import AsyncExitStack

import pytest

from shared.pipeline import CONSUMPTIONS
from tests.harness.brokers import delete_queue, frozen, frozen_part, management, members_agree, rabbitmqctl
from tests.harness.clusters import NODES
from tests.harness.running import Pipeline
from tests.harness.trial import trial
from tests.harness.waiting import wait_until

pytestmark = [pytest.mark.failover, pytest.mark.timeout(240)]

BACK_SECONDS = 30.0
CONSUMER_TIMEOUT_MILLISECONDS = 3_000
ACK_TIMED_OUT = "delivery acknowledgement on channel"
FORGET_CONSUMERS = """
    {ok, Queue} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"%s">>)),
    [{ok, _, _} = ra:process_command(
        amqqueue:get_pid(Queue),
        rabbit_fifo:make_checkout({element(2, Consumer), element(1, Consumer)}, cancel, #{})
    ) || Consumer <- rabbit_amqqueue:consumers(Queue)].
"""
"""Erlang that ends every consumer inside a quorum queue, past the channels that they consume on."""


async def decided(pipeline: Pipeline, orders: int = 20) -> None:
    """A small load goes all the way through."""
    async with trial(pipeline, orders=orders, concurrency=5) as run:
        assert (await run.finish(settle_seconds=BACK_SECONDS)).faults() == {}


@pytest.mark.parametrize("queue", [each.queue for each in CONSUMPTIONS])
async def test_a_deleted_queue_is_declared_and_consumed_again(pipeline: Pipeline, queue: str) -> None:
    """The broker cancels the consumer; it declares the topology and consumes anew.

    Nothing else takes what is published meanwhile, so that it is refused, and published again.
    """
    await members_agree(pipeline, queue)
    await delete_queue(pipeline, queue)
    await decided(pipeline)


@pytest.mark.parametrize("queue", [each.queue for each in CONSUMPTIONS])
async def test_a_consumer_that_the_broker_forgot_without_a_word_consumes_again(
    pipeline: Pipeline, queue: str
) -> None:
    """As happens on 3.10 when a queue is deleted while acks are on their way: no cancel ever comes."""
    await rabbitmqctl(pipeline, "rabbitmq1", "eval", FORGET_CONSUMERS % queue)
    await decided(pipeline)


async def test_closed_connections_are_replaced(pipeline: Pipeline) -> None:
    """An operator closes every connection; all come back by themselves."""

    async def connections() -> list[str]:
        return [str(each["name"]) for each in await management(pipeline, "connections")]

    await wait_until(lambda: _any(connections), what="connections listed")
    for name in await connections():
        await management(pipeline, f"connections/{name.replace(' ', '%20').replace('>', '%3E')}", "DELETE")
    await decided(pipeline)


async def test_an_ack_timeout_of_the_broker_closes_the_channel_and_loses_nothing(pipeline: Pipeline) -> None:
    """Deliveries held too long while the store is away come again, and are decided once."""
    timeouts = (
        f"application:set_env(rabbit, consumer_timeout, {CONSUMER_TIMEOUT_MILLISECONDS}), "
        "application:set_env(rabbit, channel_tick_interval, 1000)."
    )
    for node in NODES:
        await rabbitmqctl(pipeline, node, "eval", timeouts)
    try:
        await pipeline.stop("order_processor")
        await pipeline.start("order_processor")
        async with AsyncExitStack() as processor, trial(pipeline, orders=100, concurrency=10) as run:
            await processor.enter_async_context(frozen(pipeline.services.pid("order_processor")))
            await run.reached(1.0)
            async with frozen_part(pipeline, "redis"):
                await processor.aclose()
                await wait_until(
                    lambda: any(ACK_TIMED_OUT in pipeline.cluster.log_text(node) for node in NODES),
                    what="the broker to close a channel",
                    timeout_seconds=40,
                )
            assert (await run.finish()).faults() == {}
    finally:
        for node in NODES:
            await rabbitmqctl(
                pipeline, node, "eval", "application:set_env(rabbit, consumer_timeout, 1800000)."
            )
        await pipeline.stop("order_processor")


async def _any(listing) -> bool:  # type: ignore[no-untyped-def]
    return bool(await listing())
