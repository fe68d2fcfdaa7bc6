"""Builds the processor from its adapters."""

from typing import Final

from order_processor.handlers import OrderPlacedHandler
from order_processor.payments import Payments
from order_processor.settings import ProcessorSettings
from order_processor.simulated_provider import SimulatedProvider
from shared import keyspace
from shared.messages import OrderPlaced
from shared.orders.redis.decisions import RedisDecisionStore
from shared.orders.redis.moves import RedisMoves
from shared.orders.redis.payments import RedisPayments
from shared.orders.redis.sweep import LEAST_PART, Sweep
from shared.orders.redis.trimming import LogTrimming
from shared.pipeline import ORDER_PROCESSOR
from shared.redis.lease import Lease
from shared.service.worker import UseCases, Worker, consumer


def use_cases(worker: Worker[ProcessorSettings]) -> UseCases:
    """Decides orders, removes the old ones, and keeps the log of their steps in its bounds."""
    common, own, redis = worker.common, worker.own, worker.redis
    store = RedisDecisionStore(
        redis,
        timeout_seconds=own.store_timeout_seconds,
        oldest_recreated_seconds=common.order_retention_seconds / LEAST_PART,
        asks_payment=common.payments != "off",
    )
    sweep = Sweep(
        redis,
        timeout_seconds=own.store_timeout_seconds,
        retention_seconds=common.order_retention_seconds,
        lease=Lease(redis, keyspace.SWEEP_LEASE, timeout_seconds=own.store_timeout_seconds),
    )
    trimming = LogTrimming(
        redis,
        worker.registry,
        timeout_seconds=own.store_timeout_seconds,
        keep_seconds=common.log_keep,
        most_entries=common.log_entries,
    )
    paying = () if common.payments == "off" else (_payments(worker).run,)
    return UseCases(
        handlers={OrderPlaced: OrderPlacedHandler(store)},
        failures=store,
        jobs=(sweep.run, trimming.run, *paying),
    )


def _payments(worker: Worker[ProcessorSettings]) -> Payments:
    redis, own = worker.redis, worker.own
    return Payments(
        RedisPayments(redis, timeout_seconds=own.store_timeout_seconds),
        RedisMoves(redis, timeout_seconds=own.store_timeout_seconds),
        SimulatedProvider(
            redis,
            timeout_seconds=own.store_timeout_seconds,
            limit=own.payment_limit,
            mishaps=own.payment_mishaps,
        ),
        Lease(redis, keyspace.PAYMENTS_LEASE, timeout_seconds=own.store_timeout_seconds),
        timeout_seconds=own.payment_timeout_seconds,
    )


PROGRAM: Final = consumer(ORDER_PROCESSOR, ProcessorSettings, use_cases)
