"""The services as processes of this machine, on a cluster of the tests' own, whatever that is made of."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import aiohttp
import redis as blocking_redis
from prometheus_client.parser import text_string_to_metric_families

from orderctl.native.formation import left_out
from orderctl.native.services import NativeServices
from shared import keyspace
from shared.services import SERVICES
from shared.settings import CommonSettings
from tests.harness.clusters import NODES, Cluster


def settings_of(cluster: Cluster) -> CommonSettings:
    """The settings under which a service reaches the cluster."""
    return CommonSettings(
        rabbitmq_urls=tuple(cluster.rabbitmq_urls),
        rabbitmq_management_urls=tuple(cluster.rabbitmq_management_urls),
        redis_url=cluster.redis_url,
    )


SETTLE = """
import pathlib, sys
from orderctl.native import broker_users, layout
folder = layout.Layout(pathlib.Path(sys.argv[1]))
broker_users.ensure(folder)
broker_users.settle(folder, sys.argv[2])
"""
"""Makes the brokers' users and the map as the tree has them in which it runs."""


def code_of(tree: Path) -> dict[str, str]:
    """The environment in which Python imports another tree instead of this one."""
    return {"PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}


class SystemUnderLoad(Protocol):
    """What a load and its judge know of a system, whatever runs it."""

    @property
    def gateway_url(self) -> str:
        """Where orders are placed."""

    @property
    def redis_url(self) -> str:
        """Its store, as an operator reads it."""

    @property
    def notifier_log(self) -> Path:
        """What the notifier writes, as it grows."""


class Pipeline:
    """The whole system under test. Blocking work runs in threads, so that tests stay asynchronous."""

    def __init__(self, cluster: Cluster, environment: Mapping[str, str] | None = None) -> None:
        """``environment`` holds settings that every service inherits, beside this process' own."""
        self.cluster = cluster
        self.services = NativeServices(cluster, base_environment={**os.environ, **(environment or {})})

    @property
    def gateway_url(self) -> str:
        """Where orders are placed."""
        return self.services.url("api_gateway") or ""

    @property
    def dashboard_url(self) -> str:
        """Where the metrics are."""
        return self.services.url("dashboard") or ""

    @property
    def redis_url(self) -> str:
        """Its store, as an operator reads it."""
        return self.cluster.redis_url

    @property
    def notifier_log(self) -> Path:
        """What the notifier writes, as it grows."""
        return self.cluster.layout.log("notifier")

    async def make_whole(self) -> None:
        """Starts whatever is missing and waits until everything is ready."""
        await asyncio.to_thread(self._make_whole)

    def _make_whole(self) -> None:
        stores = ("redis", "cache", "postgres")
        views = {node: frozenset(self.cluster.seen_by(node)) for node in NODES}
        is_one_cluster = all(len(view) == len(NODES) for view in views.values())
        if any(self.cluster.node_pid(name) is None for name in stores) or not is_one_cluster:
            if (node := left_out(views)) is not None:
                self.cluster.kill(node)  # one that a test froze or cut off; `start` waits 45 s before it does
            self.cluster.start()
        for name in SERVICES:
            self.services.start(name)
        self.services.wait_ready()

    async def begin_with(self, tree: Path) -> None:
        """Starts the cluster, and on it the services of another tree, as many as that has."""
        await asyncio.to_thread(self.cluster.start)
        words = (SETTLE, self.cluster.layout.data_dir, self.cluster.rabbitmq_management_urls[0])
        await asyncio.to_thread(
            subprocess.run,
            (sys.executable, "-c", *map(str, words)),
            env={**os.environ, **code_of(tree)},
            check=True,
        )
        names = [name for name in SERVICES if (tree / name).is_dir()]
        await self.start(*names, **code_of(tree))

    async def start(self, *names: str, **overrides: str) -> None:
        """Starts services with settings of the test's own and waits until they are ready."""
        for name in names:
            await asyncio.to_thread(self.services.start, name, overrides)
        await asyncio.to_thread(self.services.wait_ready, names)

    async def stop(self, *names: str) -> None:
        """Lets services drain and end."""
        for name in names:
            await asyncio.to_thread(self.services.stop, name)

    def stop_all(self) -> None:
        """Ends every service, gracefully."""
        for name in SERVICES:
            self.services.stop(name)

    def empty_store(self) -> None:
        """Forgets all orders; the settings stay, and what the gateway knows of the brokers."""
        with blocking_redis.Redis.from_url(self.cluster.redis_url) as client:
            client.flushall()
            client.set(keyspace.TOPOLOGY_DECLARED, "1")


async def metric_of(pipeline: Pipeline, service: str, name: str, **labels: str) -> float:
    """The sum of a metric over all series with these labels, as its operations port shows it now."""
    return await metric_at(f"{pipeline.services.operations_url(service)}", name, **labels)


async def metric_at(operations_url: str, name: str, **labels: str) -> float:
    """The same of the operations port at an address."""
    async with aiohttp.ClientSession() as session, session.get(f"{operations_url}/metrics") as answer:
        text = await answer.text()
    families = text_string_to_metric_families(text)
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )
