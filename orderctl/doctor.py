"""What could keep the pipeline from working, found by looking, each with what to do about it.

What is wrong with the parts is said in the page's words. Here is looked at what the page cannot see: the
machine, settings, the supervisor, queues of others, processes that no record knows.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from rich.text import Text

from dashboard.overview.attention import disk_faults
from dashboard.overview.disks import short_disks
from orderctl.attention import attention, told
from orderctl.docker import engine
from orderctl.embedded import PROCESS as EMBEDDED_PROCESS
from orderctl.exposure import ADVICE
from orderctl.native import packages, processes, redis
from orderctl.native.cluster import PARTS
from orderctl.native.layout import Layout
from orderctl.native.ports import EDGE, EPMD, NODE_NAMES, REDIS, STORES, WELL_KNOWN_PORTS
from orderctl.native.supervisor import NAME as SUPERVISOR
from orderctl.system import Mode, System, SystemStatus
from orderctl.terminal import shown
from shared import pipeline
from shared.messaging.rabbitmq.management import quorum_queues
from shared.messaging.rabbitmq.retired import QUEUES as RETIRED_QUEUES
from shared.services import SERVICES

PASSES_SECONDS = 8.0
_MAPPED = frozenset(queue.name for queue in pipeline.queues())
POLL_SECONDS = 0.5


class Severity(StrEnum):
    """How much a finding matters."""

    FINE = "ok"
    REMARK = "note"
    FAULT = "fault"


_COLOURS = {Severity.FINE: "green", Severity.REMARK: "yellow", Severity.FAULT: "red"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `advice` says what to do where there is something to do."""

    severity: Severity
    what: str
    advice: str = ""

    @property
    def is_fault(self) -> bool:
        return self.severity is Severity.FAULT

    def rendered(self) -> Text:
        """One line, two where there is advice."""
        mark = (f"{self.severity:<6}", _COLOURS[self.severity])
        advice = ("\n      ", shown(self.advice, "dim")) if self.advice else ()
        return Text.assemble(mark, shown(self.what), *advice)


_fine = partial(Finding, Severity.FINE)
_remark = partial(Finding, Severity.REMARK)
_fault = partial(Finding, Severity.FAULT)


def examine(system: System) -> list[Finding]:
    """Look at the machine, then at what runs on it."""
    status = system.status()
    findings = [*_machine(status), *_exposure(system)]
    if not status.anything_runs:
        findings.append(_nothing_runs(system))
    else:
        embedded = status.mode is Mode.EMBEDDED
        findings += [] if embedded else _nodes(status)
        findings += [] if embedded else [*_durability(status), *_further_stores(status)]
        findings += [*_services(status), *_ports(system)]
        findings += _supervision(status) if status.mode is Mode.NATIVE else []
        findings += [_remark(status.warning)] if embedded else [*_queues(status)]
        findings += [*_edge(system.layout), *_attention(system, status)]
    return [*findings, *_strangers(system.layout)]


def _exposure(system: System) -> Iterator[Finding]:
    if fault := system.exposure():
        yield _fault(fault, ADVICE)


def _nothing_runs(system: System) -> Finding:
    if system.layout.run_dir.exists():
        return _fault("everything has ended, and not by down", "start it again with: orderctl up")
    return _remark("nothing runs", "start it with: orderctl up")


def _attention(system: System, status: SystemStatus) -> Iterator[Finding]:
    """What the page says, unless it passes in a moment."""
    sentences: list[str] = []

    def is_settled() -> bool:
        sentences[:] = attention(system, status)
        return not sentences or bool(status.missing)

    processes.wait_until(is_settled, PASSES_SECONDS, POLL_SECONDS)
    if not sentences:
        yield _fine("the dashboard calls attention to nothing")
    for each in sentences:
        yield _fault(each)


def _ports(system: System) -> Iterator[Finding]:
    """Parts that operators and clients reach, where they are not at their usual ports."""
    named = {store: WELL_KNOWN_PORTS[store] for store in STORES}
    named |= {port: at for service in SERVICES.values() for port, at in service.default_ports.items()}
    moved = [f"{name} {system.ports[name]}" for name, usual in named.items() if system.ports[name] != usual]
    if moved:
        yield _remark(f"other ports than usual, chosen or because those are taken: {', '.join(moved)}")


def _machine(status: SystemStatus) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    supported = (3, 11) <= sys.version_info[:2] <= (3, 13)
    yield (
        _fine(f"Python {version}") if supported else _fault(f"Python {version}", "3.11 to 3.13 are supported")
    )
    absent = packages.missing()
    if absent and status.mode is not Mode.NATIVE:
        yield _fine(f"not installed, and not needed here: {', '.join(absent)}")
    elif absent:
        yield _absent(absent, needed=status.anything_runs)
    else:
        programs = (
            packages.rabbitmq_folder(),
            packages.redis_server(),
            packages.postgres_program("postgres"),
        )
        yield _fine("RabbitMQ in {}, Redis in {}, PostgreSQL in {}".format(*programs))
    yield _docker()
    existing = next(folder for folder in (status.data_dir, *status.data_dir.parents) if folder.exists())
    yield _fine(f"{shutil.disk_usage(existing).free // 1024**2} MiB free in {status.data_dir}")
    if not status.anything_runs or status.mode is not Mode.NATIVE:  # else the page says it
        yield from (_fault(told(each)) for each in disk_faults(short_disks(existing)))
    if not os.access(existing, os.W_OK):
        yield _fault(f"{existing} cannot be written", "choose another folder with --data-dir")


def _absent(names: list[str], *, needed: bool) -> Finding:
    what = f"not installed: {', '.join(names)}"
    if packages.installable():
        return _remark(what, "orderctl up --mode native installs it")
    if needed:
        return _fault(what, "install it with the system's packages")
    return _remark(what, "install it with the system's packages; embedded mode does without")


def _docker() -> Finding:
    version = engine.engine_version()
    if version is None:
        return _fine("no Docker engine answers; only docker mode needs one")
    compose = engine.compose_version()
    return _fine(
        f"Docker engine {version} answers, " + (f"compose {compose}" if compose else "without compose")
    )


def _nodes(status: SystemStatus) -> Iterator[Finding]:
    for node in status.rabbitmq:
        if node.running:
            yield _fine(f"{node.node} serves{_with_pid(node.pid)}")


def _services(status: SystemStatus) -> Iterator[Finding]:
    for service in status.services:
        if service.ready:
            yield _fine(f"{service.name} is ready{_with_pid(service.pid)}")


def _supervision(status: SystemStatus) -> Iterator[Finding]:
    if processes.running(Layout(status.data_dir), SUPERVISOR) is None:
        yield _fault("the supervisor does not run: services that end stay down", "orderctl up")


def _edge(layout: Layout) -> Iterator[Finding]:
    if record := processes.running(layout, EDGE):
        yield _fine(f"{EDGE} runs{_with_pid(record.pid)}")
    elif processes.read_record(layout, EDGE):
        yield _fault(f"{EDGE} has ended: clients by HTTPS reach nothing", "orderctl up --edge")


def _queues(status: SystemStatus) -> Iterator[Finding]:
    serving = [node for node in status.rabbitmq if node.running]
    if not serving:
        return
    try:
        queues = quorum_queues(serving[0].management_url)
    except OSError as error:
        yield _fault(f"the queues could not be listed: {error}")
        return
    whole = [each for each in queues if not each.is_leaderless and len(each.members) >= len(NODE_NAMES)]
    for each in queues:
        if each not in whole and each.name not in _MAPPED:
            yield _fault(f"{each.name} has no leader, or fewer than {len(NODE_NAMES)} members", "orderctl up")
    if left := [each.name for each in queues if each.name in RETIRED_QUEUES]:
        words = f"left of an earlier version, and filled no more: {', '.join(left)}"
        yield _remark(words, "orderctl up, once nothing consumes them; dead letters are yours to delete")
    if whole == [*queues]:
        yield _fine(f"every quorum queue has a leader and {len(NODE_NAMES)} members")


def _durability(status: SystemStatus) -> Iterator[Finding]:
    if not status.redis.ready:
        return
    faults = redis.differing(status.redis.url, redis.DURABLE)
    if faults:
        yield _fault(
            f"Redis may lose what it acknowledged: {', '.join(faults)}", "orderctl stop redis; orderctl up"
        )
    else:
        yield _fine(f"Redis keeps what it acknowledges{_with_pid(status.redis.pid)}")


def _further_stores(status: SystemStatus) -> Iterator[Finding]:
    for store in status.stores:
        if store.ready and store.name != REDIS:
            yield _fine(f"{store.name} answers{_with_pid(store.pid)}")


def _strangers(layout: Layout) -> Iterator[Finding]:
    """Processes of ours that no record knows, which `down` ends."""
    known = {
        record.pid
        for name in (*PARTS, *SERVICES, EPMD, SUPERVISOR, EMBEDDED_PROCESS)
        if (record := processes.running(layout, name)) is not None
    }
    for owned in processes.owned_by(layout):
        if owned.record.pid not in known and owned.record.name not in (*PARTS, EDGE):
            yield _remark(
                f"{owned.program} ({owned.record.pid}) is ours but not recorded", "orderctl down ends it"
            )


def _with_pid(pid: int | None) -> str:
    """Where a process cannot be seen from here, it may run all the same."""
    return f", pid {pid}" if pid else ""
