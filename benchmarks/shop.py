"""What the shop costs: products read beside a bare route, orders with token and prices beside plain ones."""

import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from benchmarks.contestants import CLIENTS, Numbers, Rows, bare_server, placed, warm_up
from benchmarks.stage import PRICED, READY_SECONDS, SHOP, SKUS, Stage, cpu_us_per_order
from orderctl.native import processes
from shared import keyspace

BARE_READS: Final = "bare aiohttp route, reads"
GATEWAY_READS: Final = "reads of products at the gateway"
CATALOGUE_READS: Final = "reads of products at the catalogue"
PLAIN: Final = "orders without token and price"
SIGNED: Final = "orders with token and prices"
READS_PER_ORDER: Final = 5
"""A read takes so much less time that a run has more of them."""


def rounds(stage: Stage, orders: int, count: int) -> Iterator[Rows]:
    """One after the other in each round, all on the same services."""
    with stage.pipeline(services=SHOP) as pids:
        url = stage.services.url("api_gateway") or ""
        token = _open(stage, url)
        warm_up(stage)
        product = _answered(f"{url}/products/{PRICED}-0")
        with bare_server(stage, product.decode()) as bare:
            at = {
                BARE_READS: bare.url,
                GATEWAY_READS: url,
                CATALOGUE_READS: stage.services.url("catalogue") or "",
            }
            reading = {name: pids[name] for name in ("api_gateway", "catalogue")} | {"bare": bare.pid}
            for address in at.values():
                _sent(stage, address, orders)  # for connections and caches
            for _ in range(count):
                rows = {
                    name: _read(stage, reading, address, READS_PER_ORDER * orders)
                    for name, address in at.items()
                }
                rows[PLAIN] = placed(stage, pids, orders)
                rows[SIGNED] = placed(stage, pids, orders, sku=PRICED, token=token)
                yield rows


def _read(stage: Stage, pids: Mapping[str, int], url: str, reads: int) -> Numbers:
    before = stage.use(pids)
    seen = _sent(stage, url, reads)
    used = cpu_us_per_order(before, stage.use(pids), reads)
    if seen["refused"]:
        raise RuntimeError(f"{seen['refused']} of {reads} reads were refused")
    cpu = {f"cpu_us {name}": micros for name, micros in used.items()}
    python = sum(used[name] for name in pids)
    return {**seen, "python_cpu_us": python, "all_cpu_us": sum(used.values()), **cpu}


def _sent(stage: Stage, url: str, reads: int) -> Numbers:
    return stage.run("reads", url=url, reads=reads, concurrency=CLIENTS, sku=PRICED, skus=SKUS)


def _open(stage: Stage, url: str) -> str:
    """Products with prices where orders read them; a customer, whose token this is."""
    for number in range(SKUS):
        product = {"sku": f"{PRICED}-{number}", "name": f"Product {number}", "category": "Things"}
        text = {"description": "What a shop would say of it. " * 5}
        _answered(f"{url}/products", {**product, **text, "unit_amount": 1_999, "currency": "EUR"}, known=409)
    keys = [keyspace.product(f"{PRICED}-{number}") for number in range(SKUS)]
    if not processes.wait_until(lambda: stage.store.exists(*keys) == SKUS, READY_SECONDS, 0.1):
        raise TimeoutError("the prices did not arrive where orders read them")
    user = {"username": f"b{secrets.token_hex(6)}", "password": secrets.token_hex(12)}
    _answered(f"{url}/users", {**user, "email": f"{user['username']}@shop.example"})
    return str(orjson.loads(_answered(f"{url}/tokens", user))["access_token"])


def _answered(url: str, body: Mapping[str, Any] | None = None, known: int = 0) -> bytes:
    """The body of a success, or b'' for ``known``; asks again where a busy machine made it take too long."""
    data = None if body is None else orjson.dumps(body)
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})  # noqa: S310 - loopback
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            if error.code == known:
                return b""
            if error.code != 503 or time.monotonic() > deadline:
                raise
            time.sleep(1.0)
