"""What is compared: one short run of each, interleaved by the caller, each giving plain numbers by name."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.stage import SERVICES, Stage, cpu_us_per_order
from orderctl.native import processes
from orderctl.native.ports import answers

WARM_UP_ORDERS: Final = 500
CLIENTS: Final = 64
MANY_CLIENTS: Final = 128
ALONE: Final = 10
"""One client in flight places so many times fewer orders than the others."""
BATCHES_OFF: Final = {"EVENTS_PER_MESSAGE": "1"}
PEER: Final = ("gateway", "processor", "notifier")

BARE: Final = "bare two-hop AMQP"
OURS: Final = "ours"
OURS_MANY: Final = f"ours with {MANY_CLIENTS} clients"
OURS_ALONE: Final = "ours with 1 client"
OURS_OFF: Final = "ours with batches off"
FASTSTREAM: Final = "FastStream"
HTTP: Final = "bare aiohttp"

Numbers = dict[str, float]
Rows = dict[str, Numbers]


def two_hops(stage: Stage, orders: int) -> Rows:
    """The brokers' ceiling: a client that publishes as the pipeline does, one order a message."""
    result = stage.bare("bare_amqp", orders=orders, in_flight=CLIENTS)
    own, brokers = result["cpu_us_per_order"], result["brokers_cpu_us_per_order"]
    return {
        BARE: {
            "per_second": result["per_second"],
            "python_cpu_us": own,
            "cpu_us brokers": brokers,
            "all_cpu_us": own + brokers,
        }
    }


def bare_http(stage: Stage, orders: int) -> Rows:
    """The HTTP ceiling."""
    with bare_server(stage) as server:
        before = stage.use({"http": server.pid})
        result = stage.run("load", url=server.url, orders=orders, prefix="h", concurrency=CLIENTS)
        used = cpu_us_per_order(before, stage.use({"http": server.pid}), orders)
    return {HTTP: {"per_second": result["accepted_per_second"], "python_cpu_us": used["http"]}}


@dataclass(frozen=True, slots=True)
class BareServer:
    """Bare routes that listen."""

    url: str
    pid: int


@contextmanager
def bare_server(stage: Stage, product: str = "{}") -> Iterator[BareServer]:
    """While the block runs; ``product`` is its answer to a read."""
    port = stage.cluster.ports["dashboard.http"]
    words = ["-m", "benchmarks.bare_http", "--port", str(port), "--product", product]
    server = stage.spawn("bare_http", words, {})
    try:
        _wait_listening(port)
        yield BareServer(f"http://127.0.0.1:{port}", server.pid)
    finally:
        processes.terminate(server, 5.0)


def ours(stage: Stage, orders: int, *, tree: Path | None = None) -> Rows:
    """The pipeline (of another tree, if one is given) at saturation, then with one client in flight."""
    with stage.pipeline(tree=tree) as pids:
        warm_up(stage)
        return {
            OURS: placed(stage, pids, orders),
            OURS_MANY: placed(stage, pids, orders, clients=MANY_CLIENTS),
            OURS_ALONE: placed(stage, pids, orders // ALONE, clients=1),
        }


def ours_batches_off(stage: Stage, orders: int) -> Rows:
    """The pipeline, one event a message."""
    with stage.pipeline(BATCHES_OFF) as pids:
        warm_up(stage)
        return {OURS_OFF: placed(stage, pids, orders)}


def peer(stage: Stage, orders: int) -> Rows:
    """The same pipeline with FastStream."""
    url = f"http://127.0.0.1:{stage.cluster.ports['api_gateway.http']}"
    with _peer_pipeline(stage) as pids:
        warm_up(stage, url)
        return {FASTSTREAM: placed(stage, pids, orders, url=url)}


def warm_up(stage: Stage, url: str | None = None) -> None:
    """Connections, caches and what is imported late, before anything is measured."""
    stage.load(url, orders=WARM_UP_ORDERS, concurrency=CLIENTS)


def placed(
    stage: Stage,
    pids: Mapping[str, int],
    orders: int,
    *,
    clients: int = CLIENTS,
    url: str | None = None,
    **further: object,
) -> Numbers:
    """As many orders as ``clients`` get in, each with one request on its way, until the last is notified."""
    before = stage.use(pids)
    result = stage.load(url, orders=orders, concurrency=clients, **further)
    after = stage.use(pids)
    if result["refused"]:
        raise RuntimeError(f"{result['refused']} of {orders} orders were refused: the rest is no equal work")
    used = cpu_us_per_order(before, after, orders)
    return {
        "per_second": result["end_to_end_per_second"],
        "accepted_per_second": result["accepted_per_second"],
        "python_cpu_us": sum(used[name] for name in pids),
        "all_cpu_us": sum(used.values()),
        "load_cpu_us": result["load_cpu_us_per_order"],
        **{f"cpu_us {name}": micros for name, micros in used.items()},
        **{f"rss_mib {name}": after[name].resident_bytes / 2**20 for name in pids},
        **percentiles("accept", result["accept_ms"]),
        **percentiles("notified", result["notified_ms"]),
    }


def percentiles(what: str, milliseconds: Mapping[str, float]) -> Numbers:
    """As numbers of a row."""
    return {f"{what}_{share}_ms": value for share, value in milliseconds.items()}


@contextmanager
def _peer_pipeline(stage: Stage) -> Iterator[dict[str, int]]:
    stage.empty_store()
    stage.bare("bare_amqp", orders=1)  # declares the queues, which the peer expects to stand
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


def _wait_listening(port: int) -> None:
    if not processes.wait_until(lambda: answers(port), 30.0, 0.1):
        raise TimeoutError(f"nothing listens on port {port}")


CONTESTANTS: Final[Mapping[str, Any]] = {
    BARE: two_hops,
    OURS: ours,
    OURS_OFF: ours_batches_off,
    FASTSTREAM: peer,
    HTTP: bare_http,
}
"""By the name of the row, or of the first of its rows."""
