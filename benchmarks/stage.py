"""The machine room: a private cluster, the services on it, and what each process has used of the CPU."""

import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson
import redis

from benchmarks.use import Use, use_of
from orderctl.native import processes
from orderctl.native.cluster import NativeCluster
from orderctl.native.layout import project_root, tail
from orderctl.native.ports import NODE_NAMES, REDIS
from orderctl.native.services import NativeServices, readiness_of, spec_of
from shared import keyspace

SERVICES: Final = ("api_gateway", "order_processor", "notifier")
SHOP: Final = (*SERVICES, "accounts", "catalogue")
STOCK: Final = 100_000_000_000
SKUS: Final = 100
UNPRICED, PRICED = "bench", "shop"
"""What SKUs begin with: those without a product, and those that the shop has one for."""
RUN_SECONDS: Final = 900
READY_SECONDS: Final = 60.0


class Stage:
    """A running cluster, and the means to start services beside it and put load on them."""

    def __init__(self, cluster: NativeCluster) -> None:
        self.cluster = cluster
        self.services = NativeServices(cluster)
        self.store = redis.Redis.from_url(cluster.redis_url, decode_responses=True)
        self._runs = itertools.count(1)

    def empty_store(self) -> None:
        """No orders, and more stock on the shelves than any run can take. No service may be running."""
        self.store.flushdb()
        for kind, number in itertools.product((UNPRICED, PRICED), range(SKUS)):
            self.store.set(keyspace.inventory(f"{kind}-{number}"), STOCK)

    @contextmanager
    def pipeline(
        self,
        overrides: Mapping[str, str] | None = None,
        *,
        tree: Path | None = None,
        keeps_orders: bool = False,
        services: Sequence[str] = SERVICES,
    ) -> Iterator[dict[str, int]]:
        """The services of ``tree`` (this one), ready, on an empty store; gives their pids by name."""
        if not keeps_orders:
            self.empty_store()
        try:
            pids = {name: self.start(name, overrides, tree=tree) for name in services}
            for name in services:
                self.wait_ready(name)
            yield pids
        except (RuntimeError, TimeoutError) as error:
            error.add_note(self._complaints())
            raise
        finally:
            for name in services:
                self.services.stop(name)

    def _complaints(self) -> str:
        """What services and brokers said last, as far as it was no routine: the folder goes with the run."""
        said = []
        for name in (*SHOP, *NODE_NAMES):
            lines = [line[:300] for line in tail(self.cluster.layout.log(name), 60)]
            said += [f"{name}: {line}" for line in lines if '"level":"info"' not in line][-10:]
        return "\n".join(said)

    def start(
        self, name: str, overrides: Mapping[str, str] | None = None, *, tree: Path | None = None
    ) -> int:
        """Starts one service; returns its pid."""
        settings = {**self.services.settings(name), "LOG_LEVEL": "INFO", **(overrides or {})}
        return self.spawn(name, ["-m", name], settings, tree=tree).pid

    def wait_ready(self, name: str) -> None:
        """Asks no more than that it is ready: other commits tell less of themselves."""
        service, ports = spec_of(name), self.cluster.ports
        if not processes.wait_until(lambda: readiness_of(service, ports).ready, READY_SECONDS, 0.1):
            raise TimeoutError(f"{name}: {readiness_of(service, ports).reason}")

    def spawn(
        self, name: str, words: Sequence[str], environment: Mapping[str, str], *, tree: Path | None = None
    ) -> processes.ProcessRecord:
        """A Python process that runs until it is ended, with the packages of ``tree`` (this one)."""
        folder = tree or project_root()
        return processes.spawn(
            self.cluster.layout,
            name,
            [sys.executable, *words],
            environment={**os.environ, **environment, "PYTHONPATH": str(folder)},
            cwd=folder,
        )

    def run(self, module: str, **options: object) -> dict[str, Any]:
        """Runs ``python -m benchmarks.MODULE`` to its end; returns what it printed, raises where it fails."""
        words = words_of(module, options)
        done = subprocess.run(
            words, cwd=project_root(), capture_output=True, timeout=RUN_SECONDS, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)} failed:\n{done.stderr.decode()[-2000:]}")
        result: dict[str, Any] = orjson.loads(done.stdout)
        return result

    def bare(self, module: str, **options: object) -> dict[str, Any]:
        """Runs one of the bare clients, which tells the brokers' share too."""
        brokers = ",".join(map(str, self.broker_pids))
        return self.run(module, url=self.cluster.rabbitmq_urls[0], brokers=brokers, **options)

    def load(self, url: str | None = None, **options: object) -> dict[str, Any]:
        """Places orders until all of them are notified."""
        return self.run(
            "load",
            url=url or self.services.url("api_gateway"),
            redis=self.cluster.redis_url,
            prefix=f"b{next(self._runs)}-",
            sent_before=self.store.hget(keyspace.NOTIFICATION_COUNTS, "sent") or 0,
            **options,
        )

    @property
    def broker_pids(self) -> list[int]:
        """The three brokers, as processes."""
        return [self._pid(name) for name in NODE_NAMES]

    def _pid(self, part: str) -> int:
        pid = self.cluster.node_pid(part)
        if pid is None:
            raise RuntimeError(f"{part} does not run")
        return pid

    def use(self, pids: Mapping[str, int]) -> dict[str, Use]:
        """What each of these processes, the brokers together and Redis have used until now."""
        brokers = [use_of(pid) for pid in self.broker_pids]
        return {
            **{name: use_of(pid) for name, pid in pids.items()},
            "brokers": Use(
                cpu_seconds=sum(use.cpu_seconds for use in brokers),
                resident_bytes=sum(use.resident_bytes for use in brokers),
            ),
            "redis": use_of(self._pid(REDIS)),
        }


def words_of(module: str, options: Mapping[str, object]) -> list[str]:
    """The command that runs one module of the benchmark."""
    pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in options.items()]
    return [sys.executable, "-m", f"benchmarks.{module}", *itertools.chain.from_iterable(pairs)]


def cpu_us_per_order(before: Mapping[str, Use], after: Mapping[str, Use], orders: int) -> dict[str, float]:
    """CPU microseconds per order, by process."""
    return {
        name: 1e6 * (after[name].cpu_seconds - before[name].cpu_seconds) / max(1, orders) for name in before
    }


@contextmanager
def stage(port_base: int) -> Iterator[Stage]:
    """A cluster of its own in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        cluster = NativeCluster(Path(folder), port_base=port_base)
        try:
            cluster.start()
            built = Stage(cluster)
            built.empty_store()
            with contextlib.closing(built.store):
                yield built
        finally:
            cluster.stop()
            processes.reap()
