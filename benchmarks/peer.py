"""The peer: the same pipeline as a good engineer would write it with FastStream.

Same queues, same confirms and properties, same scripts through the same stores; one message per handler, as
FastStream hands them out. ``python -m benchmarks.peer gateway|processor|notifier``.
"""

import argparse
import asyncio
import os
import secrets
import signal
from typing import cast

import uvloop
from aiohttp import web
from faststream import AckPolicy
from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue
from faststream.rabbit.annotations import RabbitMessage

from api_gateway.intake import placed_message
from api_gateway.validation import read_order
from notifier.domain import notification_of
from notifier.ports import Attempt
from notifier.senders.log import LogSender
from notifier.store import RedisNotificationStore
from shared.context import trace_of
from shared.logs import configure_logs
from shared.messages import Event, EventData, Order, OrderPlaced, UnknownEvent, decode
from shared.messaging.settlement import message_of
from shared.orders.decisions import Created, Rejected, event_of
from shared.orders.placement import Placement
from shared.orders.redis.decisions import RedisDecisionStore
from shared.orders.redis.store import RedisOrderStore, RedisOutbox
from shared.pipeline import EVENTS_EXCHANGE, NOTIFIER, ORDER_PROCESSOR, ORDERS_EXCHANGE, Consumption
from shared.redis.client import open_redis

DAY_SECONDS = 86_400
PREFETCH = 200
CONNECTIONS = 128
ORDERS = RabbitExchange(ORDERS_EXCHANGE.name, type=ExchangeType.DIRECT, durable=True, declare=False)
EVENTS = RabbitExchange(EVENTS_EXCHANGE.name, type=ExchangeType.TOPIC, durable=True, declare=False)
EXCHANGES = {ORDERS_EXCHANGE.name: ORDERS, EVENTS_EXCHANGE.name: EVENTS}


def queue_of(consumption: Consumption) -> RabbitQueue:
    """The pipeline's own queue, which stands already."""
    return RabbitQueue(consumption.queue, durable=True, declare=False)


async def publish(broker: RabbitBroker, event: Event[EventData]) -> None:
    """A persistent, mandatory message; returns with its confirm."""
    message = message_of(event)
    await broker.publish(
        message.body,
        exchange=EXCHANGES[message.exchange],
        routing_key=message.routing_key,
        persist=True,
        mandatory=True,
        correlation_id=message.correlation_id,
        headers=dict(message.headers),
        content_type="application/cloudevents+json",
    )


async def gateway(broker: RabbitBroker, port: int) -> None:
    """Takes orders: accept script, confirmed publish, 202."""
    async with open_redis(os.environ["REDIS_URL"], timeout_seconds=5.0, max_connections=CONNECTIONS) as redis:
        store = RedisOrderStore(
            redis, timeout_seconds=5.0, claim_ttl_seconds=DAY_SECONDS, outbox_limit=1_000_000
        )
        outbox = RedisOutbox(redis, timeout_seconds=5.0)

        async def place(request: web.Request) -> web.Response:
            requested = read_order(await request.json(), id_required=True)
            order = Order(id=str(requested.id), items=requested.items, email=requested.email)
            trace = trace_of(request.headers.get("X-Correlation-ID"), request.headers.get("traceparent"))
            placement = Placement(
                order=order,
                client_named_id=True,
                idempotency_key=None,
                media_type="application/json",
                trace=trace,
            )
            acceptance = await store.accept(placement)
            if acceptance.accepted_at is None:
                return web.json_response({"title": "Duplicate order"}, status=409)
            message = placed_message(order, acceptance.accepted_at, trace)
            await broker.publish(
                message.body,
                exchange=ORDERS,
                routing_key=message.routing_key,
                persist=True,
                mandatory=True,
                correlation_id=message.correlation_id,
                headers=dict(message.headers),
                content_type="application/cloudevents+json",
            )
            await outbox.remove([order.id])
            return web.json_response({"id": order.id, "status": "accepted"}, status=202)

        app = web.Application()
        app.router.add_post("/orders", place)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await stopped()
        await runner.cleanup()


async def processor(broker: RabbitBroker) -> None:
    """Decides orders: reserve script, confirmed publish, ack."""
    async with open_redis(os.environ["REDIS_URL"], timeout_seconds=5.0, max_connections=CONNECTIONS) as redis:
        store = RedisDecisionStore(redis, timeout_seconds=5.0, oldest_recreated_seconds=15.0 * DAY_SECONDS)

        async def handle(body: bytes, message: RabbitMessage) -> None:
            placed = decode(body)
            if isinstance(placed, UnknownEvent) or not isinstance(placed.data, OrderPlaced):
                return
            (decision,) = await store.decide([cast(Event[OrderPlaced], placed)])
            if isinstance(decision, Created | Rejected):
                await publish(broker, event_of(placed.data.order, decision, placed.trace))

        await serve(broker, ORDER_PROCESSOR, ORDERS, handle)


async def notifier(broker: RabbitBroker) -> None:
    """Notifies: claim, send, mark, ack."""
    async with open_redis(os.environ["REDIS_URL"], timeout_seconds=5.0, max_connections=CONNECTIONS) as redis:
        store = RedisNotificationStore(
            redis,
            timeout_seconds=5.0,
            lease_seconds=15.0,
            confirm_seconds=300.0,
            retention_seconds=30.0 * DAY_SECONDS,
        )
        sender = LogSender()

        async def handle(body: bytes, message: RabbitMessage) -> None:
            event = decode(body)
            if isinstance(event, UnknownEvent):
                return
            attempt = Attempt(notification=notification_of(event), owner=secrets.token_hex(8), channel="log")
            await store.claim([attempt])
            await sender.send(attempt.notification)
            await sender.flush()
            await store.mark_sent([attempt])

        await serve(broker, NOTIFIER, EVENTS, handle)


async def serve(
    broker: RabbitBroker, consumption: Consumption, exchange: RabbitExchange, handle: object
) -> None:
    """Consumes until it is told to stop; acks what the handler returned from."""
    subscriber = broker.subscriber(queue_of(consumption), ack_policy=AckPolicy.NACK_ON_ERROR)
    subscriber(handle)
    await broker.start()
    await stopped()


async def stopped() -> None:
    """Returns at SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


async def run(options: argparse.Namespace) -> None:
    """One of the three services."""
    configure_logs(f"peer_{options.role}", "INFO", "json")
    broker = RabbitBroker(
        os.environ["RABBITMQ_URLS"].split(",")[0],
        default_channel=Channel(prefetch_count=PREFETCH, publisher_confirms=True, on_return_raises=True),
        logger=None,
    )
    async with broker:
        match options.role:
            case "gateway":
                await broker.start()
                await gateway(broker, options.port)
            case "processor":
                await processor(broker)
            case _:
                await notifier(broker)


def main() -> None:
    """Reads the role and runs until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("gateway", "processor", "notifier"))
    parser.add_argument("--port", type=int, default=0)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
