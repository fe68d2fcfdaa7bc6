"""The private cluster: an epmd, three RabbitMQ nodes, Redis, cache and PostgreSQL, in one data folder.

Nothing in here knows a terminal, a service or a supervisor, and every call blocks until it is done: the tests
use this class, with data folder and ports of their own, through `asyncio.to_thread`.
"""

import signal
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from orderctl.errors import PartFailedError, UnknownPartError
from orderctl.native import broker_users, packages, postgres, processes, queues, rabbitmq, redis, stores
from orderctl.native.formation import Formation
from orderctl.native.layout import Layout
from orderctl.native.ports import (
    EPMD,
    LOOPBACK,
    NODE_NAMES,
    POSTGRES,
    REDIS,
    STORES,
    Ports,
    answers,
    node_ports,
    ports_from,
)
from orderctl.native.processes import ProcessRecord
from orderctl.progress import Progress, Step, StepState, silent
from shared.messaging.rabbitmq.management import (
    ManagementUnavailable,
    QueueRow,
    lets_clients_in,
    quorum_queues,
    running_together,
    short_name,
)
from shared.messaging.rabbitmq.rights import MONITOR, OPERATOR

PARTS = (*NODE_NAMES, *STORES)
SERVER_PROGRAMS = ("beam.smp", "redis-server", postgres.PROGRAM)
FORM_SECONDS = 90.0
STOP_GRACE_SECONDS = 25.0
POLL_SECONDS = 0.2
LISTED_SECONDS = 30.0


class NativeCluster:
    """Three brokers and the stores as processes of this machine, known by their recorded pids.

    `rabbitmq_conf` adds lines to every node's configuration, such as `{"consumer_timeout": "5000"}`. Without
    `port_base` the well-known ports are taken where they are free; with it, ports are counted up from there.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port_base: int | None = None,
        ports: Ports | None = None,
        rabbitmq_conf: Mapping[str, str] | None = None,
        progress: Progress = silent,
    ) -> None:
        self.layout = Layout(data_dir.resolve())
        if ports is None:
            ports = Ports(self.layout) if port_base is None else Ports(self.layout, ports_from(port_base))
        self.ports = ports
        self._rabbitmq_conf = dict(rabbitmq_conf or {})
        self._progress = progress

    # --- addresses ---------------------------------------------------------------------------------------

    def amqp_url(self, node: str, user: str = OPERATOR) -> str:
        return f"{broker_users.url(self.layout, 'amqp', self.ports[f'{node}.amqp'], user)}/"

    def management_url(self, node: str, user: str = OPERATOR) -> str:
        return broker_users.url(self.layout, "http", self.ports[f"{node}.management"], user)

    def broker_urls(self, user: str) -> list[str]:
        return [self.amqp_url(node, user) for node in NODE_NAMES]

    @property
    def monitoring_urls(self) -> list[str]:
        """The management URLs for one who may look only."""
        return [self.management_url(node, MONITOR) for node in NODE_NAMES]

    @property
    def rabbitmq_urls(self) -> list[str]:
        """The operator's AMQP URLs of all three nodes, in their order, whether they run or not."""
        return self.broker_urls(OPERATOR)

    @property
    def rabbitmq_management_urls(self) -> list[str]:
        """The operator's management URLs of all three nodes."""
        return [self.management_url(node) for node in NODE_NAMES]

    @property
    def redis_url(self) -> str:
        """The store, for its operator."""
        return redis.url(self.layout, self.ports[REDIS])

    def store_url(self, name: str, login: str) -> str:
        """The store or the cache, with a login of its own for each service."""
        return redis.url(self.layout, self.ports[name], login)

    def database_url(self, service: str) -> str:
        """The service's own database, with its login."""
        return postgres.url(self.layout, self.ports[POSTGRES], service)

    # --- what runs ---------------------------------------------------------------------------------------

    def node_pid(self, name: str) -> int | None:
        """The pid of the broker or store itself; None while it does not run."""
        record = processes.running(self.layout, _known(name))
        return record.pid if record else None

    def node_age_seconds(self, name: str) -> float:
        """How long the part has been running; 0 while it does not."""
        record = processes.running(self.layout, _known(name))
        return record.age_seconds if record else 0.0

    def owns(self, port: str) -> bool:
        """True if the part's own process, and no stranger, listens on its port, such as `rabbitmq1.amqp`."""
        record = processes.running(self.layout, port.partition(".")[0])
        return record is not None and processes.listens(record, self.ports[port])

    def running_nodes(self) -> frozenset[str]:
        """The nodes that serve, each by its own word."""
        return frozenset(node for node in NODE_NAMES if node in self.seen_by(node))

    def seen_by(self, node: str) -> frozenset[str]:
        """The nodes that this one sees running; empty while it does not take clients itself."""
        if not (self.owns(f"{node}.amqp") and self.owns(f"{node}.management")):
            return frozenset()
        view = running_together(self.management_url(node))
        return view if node in view and lets_clients_in(self.management_url(node), node) else frozenset()

    def missing_peers(self, node: str) -> list[str]:
        """The other nodes without a process: a node that was not the last to stop waits for them."""
        return [peer for peer in NODE_NAMES if peer != node and self.node_pid(peer) is None]

    # --- the whole cluster -------------------------------------------------------------------------------

    def start(self, timeout_seconds: float = FORM_SECONDS) -> None:
        """Start whatever is missing, and return when stores answer and all three nodes run in one cluster,
        which knows the services and the map.

        Raises PartFailedError, with the log of the part, when that does not come about in time.
        """
        self.form([name for name in PARTS if self.node_pid(name) is None], timeout_seconds)
        self._settle_users()
        queues.mend(self, self._progress)
        self.grow_queues()

    def form(self, missing: list[str], timeout_seconds: float = FORM_SECONDS) -> None:
        """Start these parts, and return when stores answer and all nodes run in one cluster."""
        if self.layout.formed.exists():
            self._start_processes(missing)
            self._wait_stores(missing, timeout_seconds)
        else:
            self._start_processes([name for name in missing if name not in NODE_NAMES[1:]])
            self._wait_stores(missing, timeout_seconds)
            self._found(NODE_NAMES[0], timeout_seconds)
            self._start_processes(missing)
        unknown = [node for node in NODE_NAMES if node not in missing and not self.seen_by(node)]
        broker_users.let_operator_in(self.layout, map(self.management_url, unknown))
        Formation(self, self._progress).wait(timeout_seconds)

    def _settle_users(self) -> None:
        faults: list[str] = []

        def settled() -> bool:
            try:
                broker_users.settle(self.layout, self.management_url(NODE_NAMES[0]))
            except ManagementUnavailable as error:
                faults.append(str(error))
                return False
            return True

        if not self._until(settled, LISTED_SECONDS):
            raise self.failure(NODE_NAMES[0], f"it did not take the services' users: {faults[-1]}")

    def stop(self) -> None:
        """Stop all parts gracefully and side by side, our epmd last; harmless when nothing runs."""
        with ThreadPoolExecutor(len(PARTS)) as pool:
            list(pool.map(self.stop_part, PARTS))
        epmd = processes.running(self.layout, EPMD)
        if epmd:
            processes.terminate(epmd, 2.0)
        self.end_leftovers()

    def wait_running(self, nodes: Iterable[str] = NODE_NAMES, timeout_seconds: float = FORM_SECONDS) -> None:
        """Wait until each of these nodes serves and sees all of them; raises PartFailedError.

        A node that gave up its start is started again, as the supervisor would.
        """
        wanted = frozenset(nodes)

        def together() -> bool:
            for node in wanted:
                if rabbitmq.gave_up(self.layout, node):
                    self.start_part(node)
            return all(wanted <= self.seen_by(node) for node in wanted)

        if not self._until(together, timeout_seconds):
            absent = sorted(wanted - self.running_nodes())
            raise self.failure((absent or sorted(wanted))[0], f"not running after {timeout_seconds:.0f} s")

    def grow_queues(self) -> list[str]:
        """Give every quorum queue a member on each node; returns the queues that were short of members."""
        short: list[QueueRow] = []

        def counted() -> bool:
            nonlocal short
            try:
                listed = quorum_queues(self.management_url(NODE_NAMES[0]))
            except ManagementUnavailable:  # 500 while queues that have just come up are not listed yet
                return False
            short = [queue for queue in listed if len(queue.members) < len(NODE_NAMES)]
            return True

        if not self._until(counted, LISTED_SECONDS):
            raise self.failure(NODE_NAMES[0], f"its queues are not listed after {LISTED_SECONDS:.0f} s")
        for node in NODE_NAMES:
            if any(node not in map(short_name, queue.members) for queue in short):
                self._progress(Step(name="queues", state=StepState.WORKING, detail=f"growing onto {node}"))
                command = ["rabbitmq-queues", "grow", rabbitmq.erlang_name(node), "all"]
                rabbitmq.run_program(self.layout, node, self.ports, command)
        return sorted(queue.name for queue in short)

    # --- one part ----------------------------------------------------------------------------------------

    def start_part(self, name: str) -> ProcessRecord:
        """Start one part if it does not run; returns once its process runs, ready or not.

        A broker that gave up its start within a living process is ended first.
        """
        _known(name)
        record = processes.running(self.layout, name)
        if record and not (name in NODE_NAMES and rabbitmq.gave_up(self.layout, name)):
            return record
        if record:
            processes.kill(record)
        self._start_processes([name])
        started = processes.running(self.layout, name)
        if started is None:
            raise self.failure(name, "ended at once")
        return started

    def kill(self, name: str) -> bool:
        """SIGKILL one part; False if it was not running."""
        record = processes.running(self.layout, _known(name))
        killed = record is not None and processes.kill(record)
        if name == POSTGRES:
            postgres.end_orphans(self.layout)
        return killed

    def stop_part(self, name: str) -> bool:
        """Stop one part gracefully (SIGKILL after the grace); False if it was not running."""
        record = processes.running(self.layout, _known(name))
        number = stores.STOP_SIGNALS.get(name, signal.SIGTERM)
        return record is not None and processes.terminate(record, STOP_GRACE_SECONDS, number)

    def wait_store(self, name: str, timeout_seconds: float = 30.0, *, just_started: bool = True) -> None:
        """Wait until a store has loaded its data and answers; raises PartFailedError.

        A Redis that was just started is asked whether it took its settings; an operator may change them then.
        Each service has its login afterwards, also one that came with new code.
        """
        ready = False

        def settled() -> bool:
            nonlocal ready
            ready = self.owns(name) and stores.ready(self.layout, name, self.ports[name])
            return ready or self.node_pid(name) is None

        self._until(settled, timeout_seconds)
        if not ready:
            ended = self.node_pid(name) is None
            raise self.failure(name, "it ended" if ended else f"no answer after {timeout_seconds:.0f} s")
        stores.grant(self.layout, name, self.ports[name])
        if just_started and (wrong := stores.fault(self.layout, name, self.ports[name])):
            raise self.failure(name, wrong)
        self._progress(Step(name=name, state=StepState.DONE, detail=f"{LOOPBACK}:{self.ports[name]}"))

    def end_leftovers(self) -> list[ProcessRecord]:
        """End every process that still carries our mark, such as an epmd that a broker started by itself."""
        leftovers = [owned.record for owned in processes.owned_by(self.layout)]
        for record in leftovers:
            processes.terminate(record, 2.0)
        postgres.end_orphans(self.layout)
        return leftovers

    def failure(self, name: str, what: str) -> PartFailedError:
        """The error for a part that did not do what it should, pointing at its log."""
        self._progress(Step(name=name, state=StepState.FAILED, detail=what))
        return PartFailedError(f"{name}: {what}", log=self.layout.log(name))

    # --- inside ------------------------------------------------------------------------------------------

    def _wait_stores(self, missing: list[str], timeout_seconds: float) -> None:
        for name in STORES:
            self.wait_store(name, timeout_seconds, just_started=name in missing)

    def _found(self, first: str, timeout_seconds: float) -> None:
        """Wait until the very first node serves, before the others start.

        Nodes that form at once wait long for each other's lock, and one that boots while another makes the
        virtual host may be without it for good (seen on 3.10, on a busy machine).
        """
        self._until(
            lambda: (
                bool(self.seen_by(first))
                or self.node_pid(first) is None
                or rabbitmq.gave_up(self.layout, first)
            ),
            timeout_seconds,
        )

    def _start_processes(self, names: list[str]) -> None:
        self.layout.create()
        with self.layout.spawning():
            rabbitmq.write_cookie(self.layout)
            broker_users.ensure(self.layout)
            self._adopt_unrecorded(names)
            absent = [name for name in names if self.node_pid(name) is None]
            if any(name in NODE_NAMES for name in absent):
                self._ensure_epmd()
            self.ports.claim([port for name in absent for port in _ports_of(name)], self._progress)
            for name in absent:
                self._progress(Step(name=name, state=StepState.WORKING, detail="starting"))
                self._spawn(name)

    def _spawn(self, name: str) -> None:
        if name in STORES:
            stores.start(self.layout, name, self.ports[name])
            return
        founds = name == NODE_NAMES[0] and not self.layout.formed.exists()
        more = self._rabbitmq_conf | (rabbitmq.FOUNDING if founds else {})
        command = rabbitmq.configure(self.layout, name, self.ports, more)
        environment = rabbitmq.environment(self.layout, name, self.ports)
        processes.spawn(self.layout, name, command, environment=environment, cwd=self.layout.part(name))

    def _adopt_unrecorded(self, names: Iterable[str]) -> None:
        """Record what was started but not written down, because the command was killed in between."""
        for owned in reversed(
            processes.owned_by(self.layout)
        ):  # a parent before its children of the same name
            if owned.record.name in names and owned.program in SERVER_PROGRAMS:
                processes.write_record(self.layout, owned.record)

    def _ensure_epmd(self) -> None:
        """Run the port mapper in the foreground, so that its pid is known, or adopt one of a broker's."""
        if processes.running(self.layout, EPMD):
            return
        for owned in processes.owned_by(self.layout):
            if owned.program == EPMD:
                processes.write_record(self.layout, replace(owned.record, name=EPMD))
                return
        self.ports.claim([EPMD], self._progress)
        command = [str(packages.epmd()), "-port", str(self.ports[EPMD]), "-address", LOOPBACK]
        environment = rabbitmq.erlang_environment(self.layout, self.ports)
        processes.spawn(self.layout, EPMD, command, environment=environment, cwd=self.layout.data_dir)
        if not processes.wait_until(lambda: answers(self.ports[EPMD]), 5.0):
            raise self.failure(EPMD, "no answer after 5 s")

    def _until(self, condition: Callable[[], bool], timeout_seconds: float) -> bool:
        return processes.wait_until(condition, timeout_seconds, POLL_SECONDS)


def _ports_of(name: str) -> tuple[str, ...]:
    return node_ports(name) if name in NODE_NAMES else (name,)


def _known(name: str) -> str:
    if name not in PARTS:
        raise UnknownPartError(f"{name} is none of {', '.join(PARTS)}")
    return name
