"""What is compared: one short run of each, interleaved by the caller, each giving plain numbers by name."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from benchmarks.stage import SERVICES, Stage, cpu_us_per_order
from orderctl.native import processes
from orderctl.native.ports import answers

WARM_UP_ORDERS: Final = 300
IN_FLIGHT: Final = 64
CLIENTS: Final = 100
BATCHES_OF_ONE: Final = {"PROCESSOR_BATCH_LIMIT": "1", "NOTIFIER_BATCH_LIMIT": "1"}
PEER: Final = ("gateway", "processor", "notifier")

Numbers = dict[str, float]


def two_hops(stage: Stage, orders: int) -> Numbers:
    """The broker's ceiling, as the library's client reaches it."""
    return _two_hops(stage, orders)


def two_hops_as_we_do(stage: Stage, orders: int) -> Numbers:
    """The same, by a client that publishes as the pipeline does."""
    return _two_hops(stage, orders, "--as-we-do")


def _two_hops(stage: Stage, orders: int, *words: str) -> Numbers:
    url = stage.cluster.rabbitmq_urls[0]
    result = stage.run("bare_amqp", *words, url=url, orders=orders, in_flight=IN_FLIGHT)
    return {"per_second": result["per_second"], "python_cpu_us": result["cpu_us_per_order"]}


def bare_redis(stage: Stage, orders: int) -> Numbers:
    """The store's ceiling."""
    result = stage.run("bare_redis", url=stage.cluster.redis_url, orders=orders)
    return {"per_second": result["per_second"], "python_cpu_us": result["cpu_us_per_order"]}


def bare_http(stage: Stage, orders: int) -> Numbers:
    """The HTTP ceiling."""
    port = stage.cluster.ports["dashboard.http"]
    server = stage.spawn("bare_http", ["-m", "benchmarks.bare_http", "--port", str(port)], {})
    try:
        _wait_listening(port)
        before = stage.use({"http": server.pid})
        result = stage.run(
            "load", url=f"http://127.0.0.1:{port}", orders=orders, prefix="h", concurrency=CLIENTS
        )
        used = cpu_us_per_order(before, stage.use({"http": server.pid}), orders)
    finally:
        processes.terminate(server, 5.0)
    return {"per_second": result["accepted_per_second"], "python_cpu_us": used["http"]}


def ours(stage: Stage, orders: int, overrides: Mapping[str, str] | None = None) -> Numbers:
    """The pipeline at saturation."""
    with stage.pipeline(overrides) as pids:
        return saturated(stage, pids, orders)


def ours_one_by_one(stage: Stage, orders: int) -> Numbers:
    """The pipeline with batches of one."""
    return ours(stage, orders, BATCHES_OF_ONE)


def peer(stage: Stage, orders: int) -> Numbers:
    """The same pipeline with FastStream."""
    with _peer_pipeline(stage) as pids:
        return saturated(
            stage, pids, orders, url=f"http://127.0.0.1:{stage.cluster.ports['api_gateway.http']}"
        )


def saturated(
    stage: Stage, pids: Mapping[str, int], orders: int, *, url: str | None = None, items: int = 1
) -> Numbers:
    """As many orders as the pipeline takes, until the last of them is notified."""
    stage.load(url, orders=WARM_UP_ORDERS, concurrency=CLIENTS)
    before = stage.use(pids)
    result = stage.load(url, orders=orders, concurrency=CLIENTS, items=items)
    after = stage.use(pids)
    used = cpu_us_per_order(before, after, result["orders"])
    return {
        "per_second": result["end_to_end_per_second"],
        "accepted_per_second": result["accepted_per_second"],
        "refused": result["refused"],
        "python_cpu_us": sum(used[name] for name in pids),
        **{f"cpu_us {name}": micros for name, micros in used.items()},
        **{f"rss_mib {name}": after[name].resident_bytes / 2**20 for name in pids},
        "load_cpu_us": result["load_cpu_us_per_order"],
    }


def half_load(stage: Stage, rate: float, seconds: float) -> dict[str, Any]:
    """Open-loop latency at ``rate`` per second, beside that of one confirmed publish at the same rate."""
    orders = max(100, round(rate * seconds))
    with stage.pipeline():
        stage.load(orders=WARM_UP_ORDERS)
        seen = stage.load(orders=orders, rate=rate)
    bare = stage.run("bare_amqp", url=stage.cluster.rabbitmq_urls[0], orders=orders, rate=rate)
    return {
        "rate": rate,
        "accept_ms": seen["accept_ms"],
        "notified_ms": seen["notified_ms"],
        "confirm_ms": bare["confirm_ms"],
    }


@contextmanager
def _peer_pipeline(stage: Stage) -> Iterator[dict[str, int]]:
    _declare(stage)
    port = stage.cluster.ports["api_gateway.http"]
    environment = stage.services.settings("api_gateway")
    records = [
        stage.spawn(f"peer_{role}", ["-m", "benchmarks.peer", role, "--port", str(port)], environment)
        for role in PEER
    ]
    try:
        _wait_listening(port)
        yield dict(zip(SERVICES, (record.pid for record in records), strict=True))
    finally:
        for record in records:
            processes.terminate(record, 10.0)


def _declare(stage: Stage) -> None:
    """The queues stand before the peer starts: a bare run of one order declares them."""
    stage.run("bare_amqp", url=stage.cluster.rabbitmq_urls[0], orders=1)


def _wait_listening(port: int) -> None:
    if not processes.wait_until(lambda: answers(port), 30.0, 0.1):
        raise TimeoutError(f"nobody listens on port {port}")
