"""What could keep the pipeline from working, found by looking, each with what to do about it."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from http import HTTPStatus

from rich.text import Text

from orderctl.docker import engine
from orderctl.embedded import PROCESS as EMBEDDED_PROCESS
from orderctl.exposure import ADVICE
from orderctl.http import in_words, object_in, request
from orderctl.native import packages, processes, redis
from orderctl.native.cluster import PARTS
from orderctl.native.layout import Layout
from orderctl.native.ports import EPMD, NODE_NAMES, REDIS, STORES, WELL_KNOWN_PORTS
from orderctl.native.supervisor import NAME as SUPERVISOR
from orderctl.system import Mode, System, SystemStatus
from orderctl.terminal import shown
from shared.messaging.rabbitmq.management import quorum_queues, short_name
from shared.services import SERVICES

LEAST_FREE_BYTES = 500 * 1024 * 1024
ANSWER_SECONDS = 3.0
PASSES_SECONDS = 8.0
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
        queues = [] if embedded else [*_queues(status)]
        findings += [*queues, *([_remark(status.warning)] if embedded else [])]
        findings += _attention(system, status, told_of_queues=any(each.is_fault for each in queues))
    return [*findings, *_strangers(system.layout)]


def _exposure(system: System) -> Iterator[Finding]:
    if fault := system.exposure():
        yield _fault(fault, ADVICE)


def _nothing_runs(system: System) -> Finding:
    if system.layout.run_dir.exists():
        return _fault("everything has ended, and not by down", "start it again with: orderctl up")
    return _remark("nothing runs", "start it with: orderctl up")


def _attention(system: System, status: SystemStatus, *, told_of_queues: bool) -> Iterator[Finding]:
    """What the dashboard calls attention to, in its words, unless it was told here or passes in a moment."""
    if not status.service("dashboard").ready:
        return
    told = [name.replace(REDIS, "Redis") for name in status.missing]
    told += ["Queues"] if told_of_queues else []
    told += [] if any(node.running for node in status.rabbitmq) else ["No broker"]
    sentences: list[str] = []

    def is_calm() -> bool:
        nonlocal sentences
        said = _said_by_dashboard(system.url("dashboard"))
        sentences = [each for each in said if not each.removeprefix("Broker node ").startswith(tuple(told))]
        return not sentences

    if processes.wait_until(is_calm, PASSES_SECONDS, POLL_SECONDS):
        yield _fine(f"the dashboard calls attention to nothing{' else' if told else ''}")
    for each in sentences:
        yield _fault(each.replace(".venv/bin/orderctl ", "orderctl "))


def _said_by_dashboard(url: str) -> list[str]:
    try:
        headers = {"Accept": "application/json"}
        with request(url, "GET", "/metrics", headers=headers, seconds=ANSWER_SECONDS) as answer:
            content = answer.read()
            if answer.status != HTTPStatus.OK:
                return [f"dashboard: {in_words(answer.status, object_in(content))}"]
            said = json.loads(content)["attention"]
    except (OSError, ValueError, KeyError) as error:
        return [f"dashboard: its figures cannot be read: {error}"]
    return [str(each) for each in said]


def _ports(system: System) -> Iterator[Finding]:
    """Parts that operators and clients reach, where they are not at their usual ports."""
    named = {store: WELL_KNOWN_PORTS[store] for store in STORES}
    named |= {port: at for service in SERVICES.values() for port, at in service.default_ports.items()}
    moved = [f"{name} {system.ports[name]}" for name, usual in named.items() if system.ports[name] != usual]
    if moved:
        yield _remark(f"other ports than the usual ones, which were taken or not chosen: {', '.join(moved)}")


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
    free_bytes = shutil.disk_usage(existing).free
    room = f"{free_bytes // 1024**2} MiB free in {status.data_dir}"
    yield (
        _fine(room)
        if free_bytes > LEAST_FREE_BYTES
        else _fault(room, "RabbitMQ stops taking orders below 50 MB")
    )
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
        elif node.pid is None:
            yield _fault(f"{node.node} does not run", f"orderctl start {node.node}, or orderctl up")
        else:
            yield _fault(f"{node.node} runs but does not serve", "it may wait for the others: orderctl up")


def _services(status: SystemStatus) -> Iterator[Finding]:
    for service in status.services:
        if service.ready:
            yield _fine(f"{service.name} is ready{_with_pid(service.pid)}")
        elif service.pid is None:
            yield _fault(
                f"{service.name} does not run", f"orderctl start {service.name}; orderctl logs {service.name}"
            )
        else:
            yield _fault(f"{service.name} is not ready: {service.reason}", f"orderctl logs {service.name}")


def _supervision(status: SystemStatus) -> Iterator[Finding]:
    if processes.running(Layout(status.data_dir), SUPERVISOR) is None:
        yield _fault("the supervisor does not run: services that end stay down", "orderctl up")


def _queues(status: SystemStatus) -> Iterator[Finding]:
    serving = [node for node in status.rabbitmq if node.running]
    if not serving:
        return
    try:
        queues = quorum_queues(serving[0].management_url)
    except OSError as error:
        yield _fault(f"the queues could not be listed: {error}")
        return
    short = [queue for queue in queues if len(queue.members) < len(NODE_NAMES)]
    leaderless = [queue for queue in queues if queue.is_leaderless]
    for queue in leaderless:
        yield _fault(f"{queue.name} has no leader: nothing goes in or out", "orderctl up")
    for queue in short:
        held = ", ".join(sorted(map(short_name, queue.members))) or "no node"
        yield _fault(
            f"{queue.name} is held by {held} alone: it may not survive a node", "orderctl up grows it"
        )
    if not short and not leaderless:
        yield _fine(f"every quorum queue has a leader and {len(NODE_NAMES)} members")


def _durability(status: SystemStatus) -> Iterator[Finding]:
    if not status.redis.ready:
        yield _fault("Redis does not answer", "orderctl start redis, or orderctl up")
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
        if store.name == REDIS:
            continue
        if store.ready:
            yield _fine(f"{store.name} answers{_with_pid(store.pid)}")
        else:
            what = "does not run" if store.pid is None else "runs but does not answer"
            yield _fault(f"{store.name} {what}", f"orderctl start {store.name}, or orderctl up")


def _strangers(layout: Layout) -> Iterator[Finding]:
    """Processes of ours that no record knows, which `down` ends."""
    known = {
        record.pid
        for name in (*PARTS, *SERVICES, EPMD, SUPERVISOR, EMBEDDED_PROCESS)
        if (record := processes.running(layout, name)) is not None
    }
    for owned in processes.owned_by(layout):
        if owned.record.pid not in known and owned.record.name not in PARTS:
            yield _remark(
                f"{owned.program} ({owned.record.pid}) is ours but not recorded", "orderctl down ends it"
            )


def _with_pid(pid: int | None) -> str:
    """Where a process cannot be seen from here, it may run all the same."""
    return f", pid {pid}" if pid else ""
