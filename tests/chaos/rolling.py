"""A rolling upgrade of the compose project under the load of a chaos run, and how each container ended.

Brokers and stores whose definition has changed are made anew one by one. Then each service's successor starts
beside it, and the old container is asked to end once the new one is ready.
"""

import asyncio
import random
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import yaml

from orderctl.docker.containers import docker
from orderctl.errors import PartFailedError
from orderctl.native.ports import LOOPBACK
from shared.services import SERVICES
from tests.chaos.faults import UPGRADED
from tests.chaos.report import Report
from tests.chaos.run import Run, settings_of
from tests.chaos.stages import Stage
from tests.harness.client import gateway_client
from tests.harness.clusters import PARTS, free_port_base
from tests.harness.composed import ComposedSystem, Ending, ensure_image
from tests.harness.proxy import Link, link_to
from tests.harness.running import metric_at
from tests.harness.trial import longest_gap

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final = "order-pipeline-upgrade"
EARLIER_IMAGE: Final = "order-pipeline:upgraded-from"
LATER_IMAGE: Final = "order-pipeline:upgraded-to"
BROKER_USERS: Final = "broker_users"
"""Lets each service in at the brokers, those that are new among them, and ends."""
FIRST_PORT: Final = 25_000
LOG_LINES: Final = "15"
GATEWAY: Final = "api_gateway"


def changed_parts(earlier: Path, later: Path) -> list[str]:
    """The brokers and stores whose definition, or a file that they mount, is another in the later tree."""
    before, after = _definitions(earlier), _definitions(later)
    return [part for part in PARTS if before.get(part) != after[part]]


def _definitions(tree: Path) -> Mapping[str, Any]:
    services = yaml.safe_load((tree / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    return {name: (services[name], _mounted(tree, services[name])) for name in PARTS if name in services}


def _mounted(tree: Path, service: Mapping[str, Any]) -> Mapping[str, bytes]:
    named = [each.partition(":")[0] for each in service.get("volumes", ()) if each.startswith("./")]
    files = [file for name in named for file in ((tree / name), *(tree / name).rglob("*")) if file.is_file()]
    return {str(file.relative_to(tree)): file.read_bytes() for file in files}


def copy_of_this_tree(folder: Path) -> None:
    """What a commit of this tree as it is would hold: what is untracked too, what is ignored not."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def faults_of(
    endings: Iterable[Ending], left: Sequence[str], restarted: Sequence[str]
) -> dict[str, list[str]]:
    """What containers did wrong, by kind: ended late or badly, run the earlier image still, or died."""
    found = {
        "did not end by itself": [str(each) for each in endings if not each.is_graceful],
        "not upgraded": [*left],
        "restarted": [*restarted],
    }
    return {kind: names for kind, names in found.items() if names}


class RollingUpgrade:
    """Takes one project from one tree to the next, part by part."""

    def __init__(self, system: ComposedSystem, gateway: Link) -> None:
        """``gateway`` is what clients reach it through."""
        self.endings: list[Ending] = []
        self.redelivered = 0.0
        self._system = system
        self._gateway = gateway

    async def begin(self) -> None:
        """Brings the earlier tree's system up."""
        await asyncio.to_thread(self._system.up)
        for name in SERVICES:
            await asyncio.to_thread(self._admit, name, ())

    async def step(self, fault: str, _: random.Random) -> str:
        """Replaces the part that a fault's name says; returns how what it replaced has ended."""
        name = fault.removesuffix(UPGRADED.format(""))
        if name == BROKER_USERS:
            await asyncio.to_thread(self._system.compose, "run", "--rm", "--no-deps", name)
            return "made again"
        old = await asyncio.to_thread(self._system.containers, name)
        if name in PARTS:
            endings = await self._end(name, old)
            await asyncio.to_thread(self._start, name, 1)
        else:
            await asyncio.to_thread(self._start, name, len(old) + 1)
            await asyncio.to_thread(self._admit, name, old)
            endings = await self._end(name, old)
        self.endings += endings
        return ", ".join(map(str, endings)) or f"{name}: new"

    async def count_redelivered(self, name: str, containers: Iterable[str]) -> None:
        """Adds how often a delivery came to these containers that an earlier consumer had left."""
        for each in containers:
            port = await asyncio.to_thread(self._system.port, each, SERVICES[name].operations_port)
            self.redelivered += await metric_at(f"http://{LOOPBACK}:{port}", "deliveries_redelivered_total")

    async def end(self) -> dict[str, list[str]]:
        """Counts what the new consumers saw; what containers did wrong on the way."""
        for name, service in SERVICES.items():
            if service.consumption:
                await self.count_redelivered(name, await asyncio.to_thread(self._system.containers, name))
        left = await asyncio.to_thread(self._system.containers, image=EARLIER_IMAGE)
        return faults_of(self.endings, left, await asyncio.to_thread(self._system.restarted))

    def _start(self, name: str, replicas: int) -> None:
        try:
            self._system.up("--no-deps", "--scale", f"{name}={replicas}", name)
        except PartFailedError as error:
            logs = [docker("logs", "--tail", LOG_LINES, each) for each in self._system.containers(name)]
            raise AssertionError("\n".join([str(error), *logs])) from error

    def _admit(self, name: str, old: Sequence[str]) -> None:
        """A container that is ready is given what comes from outside, and its notifications are read."""
        for each in self._system.containers(name):
            if each not in old and name == "notifier":
                self._system.follow_notifier(each)
            if each not in old and name == GATEWAY:
                self._gateway.lead_to(self._system.port(each, SERVICES[GATEWAY].client_port or 0))

    async def _end(self, name: str, containers: Sequence[str]) -> list[Ending]:
        if name in SERVICES and SERVICES[name].consumption:
            await self.count_redelivered(name, containers)
        return [await asyncio.to_thread(self._system.end, name, each) for each in containers]


async def run(stage: Stage, trees: tuple[Path, Path], log: Path) -> tuple[Report, str]:
    """The stage's upgrades under its load, from the first tree to the second; what they took, in words.

    Each tree's ``.env`` is written, and its image built where it is missing.
    """
    async with AsyncExitStack() as stack:
        for tree, image in zip(trees, (EARLIER_IMAGE, LATER_IMAGE), strict=True):
            settings = "".join(f"{name}={value}\n" for name, value in settings_of(stage).items())
            (tree / ".env").write_text(settings, encoding="utf-8")
            await asyncio.to_thread(ensure_image, tree, image)
        system = ComposedSystem(trees[0], PROJECT, free_port_base(FIRST_PORT), log)
        system.image = EARLIER_IMAGE
        await asyncio.to_thread(system.down)  # what a run left that was killed
        stack.callback(system.down)
        gateway, system.gateway_port = await stack.enter_async_context(link_to(LOOPBACK, 0))
        upgrade = RollingUpgrade(system, gateway)
        await upgrade.begin()
        system.tree, system.image = trees[1], LATER_IMAGE
        client = await stack.enter_async_context(gateway_client(system.gateway_url, connections=2_000))
        chaos = Run(system, client, stage, upgrade.step)
        stack.callback(chaos.notifier_log.close)
        await chaos.endure()
        report = await chaos.judge(system.ledger_url)
        report.faults |= await upgrade.end()
        return report, _told(report, upgrade, client.books.acknowledged_at)


def _told(report: Report, upgrade: RollingUpgrade, acknowledged_at: Sequence[float]) -> str:
    slowest = max(report.seen, key=lambda each: each.answer_gap)
    longest = max(upgrade.endings, key=lambda each: each.seconds)
    return (
        f"longest without a 202: {longest_gap(acknowledged_at):.2f} s ({slowest.fault}); "
        f"redelivered: {upgrade.redelivered:.0f}; {len(upgrade.endings)} containers ended, "
        f"the slowest {longest}; {report.seconds:.0f} s under load"
    )
