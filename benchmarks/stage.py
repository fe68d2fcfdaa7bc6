"""The machine room: a private cluster, the services on it, and what each process has used of the CPU."""

import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
import psutil
import redis

from orderctl.native import processes
from orderctl.native.cluster import PARTS, NativeCluster
from orderctl.native.layout import project_root
from orderctl.native.services import NativeServices
from shared import keyspace

SERVICES: Final = ("api_gateway", "order_processor", "notifier")
STOCK: Final = 100_000_000_000
SKUS: Final = 100
RUN_SECONDS: Final = 900
READY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What one process has used: CPU seconds (user and system) and resident bytes."""

    cpu_seconds: float
    resident_bytes: int


class Stage:
    """A running cluster, and the means to start services beside it and put load on them."""

    def __init__(self, cluster: NativeCluster) -> None:
        self.cluster = cluster
        self.services = NativeServices(cluster)
        self.store = redis.Redis.from_url(cluster.redis_url, decode_responses=True)
        self._runs = itertools.count(1)

    def stock_up(self) -> None:
        """Puts more stock on the shelves than any run can take."""
        for number in range(SKUS):
            self.store.set(keyspace.inventory(f"bench-{number}"), STOCK)

    @contextmanager
    def pipeline(
        self, overrides: Mapping[str, str] | None = None, processors: int = 1
    ) -> Iterator[dict[str, int]]:
        """The three services, ready; gives their pids by name. Further processors get ports of their own."""
        pids: dict[str, int] = {}
        extra: list[processes.ProcessRecord] = []
        settings = {"LOG_LEVEL": "INFO", **(overrides or {})}
        try:
            for name in SERVICES:
                pids[name] = self.services.start(name, settings).pid
            for number in range(1, processors):
                extra.append(self._another_processor(number, settings))
                pids[f"order_processor.{number}"] = extra[-1].pid
            self.services.wait_ready(SERVICES, READY_SECONDS)
            yield pids
        finally:
            for record in extra:
                processes.terminate(record, 10.0)
            for name in SERVICES:
                self.services.stop(name)

    def _another_processor(self, number: int, settings: Mapping[str, str]) -> processes.ProcessRecord:
        port = self.cluster.ports["dashboard.http"] + number
        return self.spawn(
            f"order_processor.{number}",
            ["-m", "order_processor"],
            {**self.services.settings("order_processor"), **settings, "PROCESSOR_OPS_PORT": str(port)},
        )

    def spawn(
        self, name: str, words: Sequence[str], environment: Mapping[str, str]
    ) -> processes.ProcessRecord:
        """A Python process of ours that runs until it is ended."""
        return processes.spawn(
            self.cluster.layout,
            name,
            [sys.executable, *words],
            environment={**os.environ, **environment},
            cwd=project_root(),
        )

    def run(self, module: str, *flags: str, **options: object) -> dict[str, Any]:
        """Runs ``python -m benchmarks.MODULE`` to its end; returns what it printed, raises where it fails."""
        words = [sys.executable, "-m", f"benchmarks.{module}", *flags]
        for name, value in options.items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        done = subprocess.run(
            words, cwd=project_root(), capture_output=True, timeout=RUN_SECONDS, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(words)} failed:\n{done.stderr.decode()[-2000:]}")
        result: dict[str, Any] = orjson.loads(done.stdout)
        return result

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

    def use(self, pids: Mapping[str, int]) -> dict[str, Use]:
        """What each of these processes, the brokers together and Redis have used until now."""
        used = {name: use_of(pid) for name, pid in pids.items()}
        parts = {name: use_of(pid) for name in PARTS if (pid := self.cluster.node_pid(name)) is not None}
        brokers = [use for name, use in parts.items() if name != "redis"]
        return {
            **used,
            "brokers": Use(
                cpu_seconds=sum(use.cpu_seconds for use in brokers),
                resident_bytes=sum(use.resident_bytes for use in brokers),
            ),
            "redis": parts["redis"],
        }


def use_of(pid: int) -> Use:
    """What one process has used."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    return Use(cpu_seconds=times.user + times.system, resident_bytes=process.memory_info().rss)


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
            built.stock_up()
            with contextlib.closing(built.store):
                yield built
        finally:
            cluster.stop()
            processes.reap()
