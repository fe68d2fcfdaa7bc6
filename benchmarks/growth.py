"""How speed and memory change as things grow, and how long clients wait when the leader dies. Once each."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from benchmarks.contestants import MANY_CLIENTS, Numbers, placed, warm_up
from benchmarks.stage import Stage
from orderctl.native import processes
from shared import keyspace
from shared.messaging.rabbitmq.management import ask_management, short_name
from shared.orders.model import OrderStatus
from shared.pipeline import ORDER_PROCESSOR

FEW_WAITING: Final = 1_000
MANY_WAITING: Final = 100_000
BACKLOGS: Final = (FEW_WAITING, MANY_WAITING)
ITEMS: Final = (1, 10, 100)
PAST_ORDERS: Final = 1_000_000
ORDERS: Final = 3_000
FILL_CHUNK: Final = 5_000
DRAIN_SECONDS: Final = 600.0
RECOVERY_RATE: Final = 100
RECOVERY_SECONDS: Final = 15
RECOVERY_WAIT_SECONDS: Final = 60.0


def measure(stage: Stage) -> dict[str, Any]:
    """Each row on the same cluster."""
    return {
        "items": {str(items): _at_items(stage, items) for items in ITEMS},
        "backlog": {str(size): drained(stage, size) for size in BACKLOGS},
        "past_orders": _with_past_orders(stage),
    }


def _at_items(stage: Stage, items: int) -> Numbers:
    with stage.pipeline() as pids:
        warm_up(stage)
        return placed(stage, pids, max(500, ORDERS // max(1, items // 5)), items=items)


def drained(stage: Stage, backlog: int, *, tree: Path | None = None) -> Numbers:
    """How fast ``backlog`` orders that wait are decided and notified, from the first decision on, and what
    memory that takes. They wait as the gateway published them, while no processor ran."""
    with stage.pipeline(tree=tree) as pids:
        warm_up(stage)
        stage.services.stop("order_processor")
        url = stage.services.url("api_gateway")
        filled = stage.run("load", url=url, orders=backlog, prefix=f"w{backlog}-", concurrency=MANY_CLIENTS)
        if filled["orders"] != backlog:
            raise RuntimeError(f"{filled['refused']} of {backlog} orders were refused")
        decided, sent = _decided(stage), _sent(stage)
        pids["order_processor"] = stage.start("order_processor", tree=tree)
        _wait_until(lambda: _decided(stage) > decided, "a decision")
        began = time.monotonic()
        _wait_until(lambda: _sent(stage) >= sent + backlog, f"{backlog} notifications")
        rate = backlog / (time.monotonic() - began)
        use = stage.use(pids)
    return {"per_second": rate, **{f"rss_mib {name}": use[name].resident_bytes / 2**20 for name in pids}}


def _wait_until(is_so: Callable[[], bool], what: str) -> None:
    if not processes.wait_until(is_so, DRAIN_SECONDS, 0.02):
        raise TimeoutError(f"no {what} within {DRAIN_SECONDS:g} s")


def _decided(stage: Stage) -> int:
    return int(stage.store.get(keyspace.PROCESSED_COUNT) or 0)


def _sent(stage: Stage) -> int:
    return int(stage.store.hget(keyspace.NOTIFICATION_COUNTS, "sent") or 0)


def _with_past_orders(stage: Stage) -> dict[str, Any]:
    """The rate as it is, and after a million decided orders were put into the store. Interleaving is not
    possible here, so each is the better of two."""
    before = _best(stage)
    _fill(stage, PAST_ORDERS)
    return {"few": before, str(PAST_ORDERS): _best(stage)}


def _best(stage: Stage) -> Numbers:
    with stage.pipeline(keeps_orders=True) as pids:
        warm_up(stage)
        runs = [placed(stage, pids, ORDERS) for _ in range(2)]
    return max(runs, key=lambda run: run["per_second"])


def _fill(stage: Stage, orders: int) -> None:
    """Copies of one decided order's keys, written without the pipeline."""
    decided = str(stage.store.zrange(keyspace.orders_in(OrderStatus.CREATED), 0, 0)[0])
    record: Any = stage.store.hgetall(keyspace.order(decided))
    notified: Any = stage.store.hgetall(keyspace.notifications(decided))
    for first in range(0, orders, FILL_CHUNK):
        pipeline = stage.store.pipeline(transaction=False)
        for number in range(first, min(first + FILL_CHUNK, orders)):
            order_id = f"past-{number}"
            pipeline.hset(keyspace.order(order_id), mapping={**record, "id": order_id})
            pipeline.hset(keyspace.notifications(order_id), mapping=notified)
            pipeline.set(keyspace.claim(order_id), "past")
            pipeline.zadd(
                keyspace.orders_in(OrderStatus.CREATED),
                {order_id: int(record["accepted_at"])},
            )
        pipeline.execute(raise_on_error=True)
    _wait_until(lambda: not _is_rewriting(stage), "the end of Redis' rewrite")


def _is_rewriting(stage: Stage) -> bool:
    """Whether Redis writes its file anew at the moment, which takes it a core for as long as that lasts."""
    said: Any = stage.store.info("persistence")
    return bool(said["aof_rewrite_in_progress"] or said["aof_rewrite_scheduled"])


def leader_killed(stage: Stage) -> dict[str, Any]:
    """The longest time between two 202s, from before the kill of the queue's leader until well after."""
    with stage.pipeline():
        warm_up(stage)
        leader = _leader(stage)
        orders = RECOVERY_RATE * RECOVERY_SECONDS
        a_third = _sent(stage) + orders // 3

        def kill_when_a_third_is_told() -> bool:
            return processes.wait_until(lambda: _sent(stage) >= a_third, RECOVERY_WAIT_SECONDS, 0.01) and (
                stage.cluster.kill(leader)
            )

        with ThreadPoolExecutor(1) as pool:
            killed = pool.submit(kill_when_a_third_is_told)
            seen = stage.load(orders=orders, rate=RECOVERY_RATE)
            if not killed.result():
                raise RuntimeError(f"{leader} was not killed under load")
    stage.cluster.start_part(leader)
    stage.cluster.wait_running()
    return {
        "killed": leader,
        "longest_gap_seconds": seen["longest_gap_seconds"],
        "refused": seen["refused"],
        "accept_ms": seen["accept_ms"],
    }


def _leader(stage: Stage) -> str:
    page = f"/api/queues/%2F/{ORDER_PROCESSOR.queue}?columns=leader"
    answer = ask_management(stage.cluster.rabbitmq_management_urls[0], page, 10.0)
    return short_name(str(answer["leader"]))
