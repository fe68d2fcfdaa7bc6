"""A cluster in containers, through testcontainers: three brokers and the stores of compose's images.

Two networks, as machines with two cards: clients reach the published ports over one, the brokers one another
over the other, so that either can be taken away. Ports on the host are chosen before, because a container
that is started again would get others. Nothing relies on testcontainers' reaper, whose image is not
everywhere: each container and network carries the process that it belongs to, and is removed with the
cluster, or by the next run if that process died before it could.
"""

import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from docker.errors import APIError  # type: ignore[import-untyped]  # no types of its own
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.network import Network

from orderctl.docker.images import image
from orderctl.errors import PartFailedError
from orderctl.native import postgres, processes, redis, stores
from orderctl.native.formation import LEFT_OUT_SECONDS, left_out
from orderctl.native.layout import Layout, project_root
from orderctl.native.ports import LOOPBACK, POSTGRES, REDIS, STORES, Ports, ports_from
from orderctl.native.secrets import Secrets
from shared.messaging.rabbitmq.management import running_together, takes_clients
from shared.messaging.rabbitmq.rights import MONITOR, USERS, admit
from shared.redis.rights import users_of
from shared.services import CACHE
from tests.harness.clusters import NODES, PARTS, RABBITMQ_CONF, free_port_base
from tests.harness.stores import RedisServer, free_port

FIRST_PORT_BASE: Final = 22_000
OWNER_LABEL: Final = "order-pipeline.tests.owner"
USER = PASSWORD = "pipeline"
START_SECONDS: Final = 90.0
STOP_GRACE_SECONDS: Final = 25
RESTARTS_PER_NODE: Final = 3
POLL_SECONDS: Final = 0.2
PAUSE_ATTEMPTS: Final = 10
# As docker-compose.yml has it; +Q bounds a table that Erlang sizes by an engine's limit on open files.
ERLANG_ARGUMENTS: Final = "+sbwt none +sbwtdcpu none +sbwtdio short +Q 16384"

testcontainers_config.ryuk_disabled = True


class ContainerCluster:
    """See ``Cluster``."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(folder.resolve())
        self.layout.create()
        keep_passwords(self.layout)
        self.ports = Ports(self.layout, ports_from(free_port_base(FIRST_PORT_BASE)))
        labels = {OWNER_LABEL: _owner()}
        self._clients = Network(docker_network_kw={"labels": labels})
        self._peers = Network(docker_network_kw={"labels": labels, "internal": True})
        self._parts: dict[str, DockerContainer] = {}

    # --- addresses ---------------------------------------------------------------------------------------

    def amqp_url(self, node: str) -> str:
        """See ``Cluster``."""
        return f"amqp://{USER}:{PASSWORD}@{LOOPBACK}:{self.ports[f'{node}.amqp']}/"

    def management_url(self, node: str) -> str:
        """Where one node tells about the cluster, credentials included."""
        return f"http://{USER}:{PASSWORD}@{LOOPBACK}:{self.ports[f'{node}.management']}"

    @property
    def rabbitmq_urls(self) -> list[str]:
        """See ``Cluster``."""
        return [self.amqp_url(node) for node in NODES]

    @property
    def rabbitmq_management_urls(self) -> list[str]:
        """See ``Cluster``."""
        return [self.management_url(node) for node in NODES]

    @property
    def redis_url(self) -> str:
        """See ``Cluster``."""
        return redis.url(self.layout, self.ports[REDIS])

    def store_url(self, name: str, login: str) -> str:
        """See ``Cluster``."""
        return redis.url(self.layout, self.ports[name], login)

    @property
    def monitoring_urls(self) -> list[str]:
        """See ``Cluster``."""
        return [url.replace(USER, MONITOR, 1) for url in self.rabbitmq_management_urls]

    def broker_urls(self, user: str) -> list[str]:
        """See ``Cluster``."""
        return [url.replace(USER, user, 1) for url in self.rabbitmq_urls]

    def database_url(self, service: str) -> str:
        """See ``Cluster``."""
        return postgres.url_of(service, PASSWORD, self.ports[POSTGRES])

    def erlang_name(self, node: str) -> str:
        """See ``Cluster``."""
        return f"{node}@{node}"

    # --- what runs ---------------------------------------------------------------------------------------

    def node_pid(self, name: str) -> int | None:
        """See ``Cluster``. The pid is the host's where the engine runs on this machine."""
        if name not in self._parts:
            return None
        state = self._state(name)
        return int(state["Pid"]) if state["Running"] else None

    def seen_by(self, node: str) -> frozenset[str]:
        """See ``Cluster``."""
        if not takes_clients(self.ports[f"{node}.amqp"]):
            return frozenset()
        found = running_together(self.management_url(node))
        return found if node in found else frozenset()

    # --- the whole cluster -------------------------------------------------------------------------------

    def create(self) -> None:
        """Makes networks and containers, which run from then on; what dead runs left is removed before."""
        remove_leftovers()
        self._clients.create()
        self._peers.create()
        for node in NODES:
            self._parts[node] = self._broker(node)
        for name in (REDIS, CACHE):
            self._parts[name] = redis_container(
                self.layout.part(name), self.ports[name], name, network=self._clients
            )
        self._parts[POSTGRES] = self._postgres()
        for name, container in self._parts.items():
            container.start()
            if name in NODES:
                self._peers.connect(container.get_container_id(), [name])

    def remove(self) -> None:
        """Takes everything away again, data included; what is missing is no error."""
        with ExitStack() as stack:
            for network in (self._clients, self._peers):
                stack.callback(network.remove)
            for container in self._parts.values():
                stack.callback(container.stop)

    def start(self) -> None:
        """See ``Cluster``. A node that gives its start up is started again, a few times."""
        self._side_by_side(self.start_part, PARTS)
        for name in STORES:
            self.wait_store(name)
        self._make_logins()
        deadline = time.monotonic() + START_SECONDS
        restarts = dict.fromkeys(NODES, 0)
        restarted_at = time.monotonic()
        views = self._views()
        while not all(len(view) == len(NODES) for view in views.values()):
            outsider = left_out(views)
            if outsider and time.monotonic() - restarted_at > LEFT_OUT_SECONDS:  # as `orderctl up` does
                self.kill(outsider)
                self.start_part(outsider)
                restarted_at = time.monotonic()
            for node in [node for node in NODES if self.node_pid(node) is None]:
                restarts[node] += 1
                if restarts[node] > RESTARTS_PER_NODE:
                    raise self._failure(node, "ended again and again")
                self.start_part(node)
            if time.monotonic() > deadline:
                slowest = min(NODES, key=lambda node: len(views[node]))
                raise self._failure(slowest, f"not in the cluster after {START_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
            views = self._views()
        admit(self.rabbitmq_management_urls[0], dict.fromkeys(USERS, PASSWORD))

    def _views(self) -> dict[str, frozenset[str]]:
        return {node: self.seen_by(node) for node in NODES}

    def stop(self) -> None:
        """See ``Cluster``."""
        self._side_by_side(self.stop_part, PARTS)

    # --- one part ----------------------------------------------------------------------------------------

    def start_part(self, name: str) -> object:
        """See ``Cluster``."""
        if self.node_pid(name) is None:
            self._container(name).start()
        return self.node_pid(name)

    def stop_part(self, name: str) -> bool:
        """See ``Cluster``."""
        running = self.node_pid(name) is not None
        self._container(name).stop(timeout=STOP_GRACE_SECONDS)
        return running

    def kill(self, name: str) -> bool:
        """See ``Cluster``."""
        if self.node_pid(name) is None:
            return False
        self._container(name).kill()
        self._container(name).wait()
        return True

    def wait_store(self, name: str) -> None:
        """See ``Cluster``."""
        if not processes.wait_until(lambda: self._answers(name), START_SECONDS, 0.1):
            raise self._failure(name, f"no answer after {START_SECONDS:.0f} s")

    def _answers(self, name: str) -> bool:
        return stores.ready(self.layout, name, self.ports[name])

    def freeze(self, name: str) -> None:
        """See ``Cluster``."""
        pause(self._container(name))

    def thaw(self, name: str) -> None:
        """See ``Cluster``."""
        self._container(name).unpause()

    @property
    def can_cut_off(self) -> bool:
        """See ``Cluster``."""
        return True

    def cut_off(self, node: str, *, from_clients: bool) -> None:
        """See ``Cluster``. The network card goes, as with ``docker network disconnect``."""
        for network in (self._peers, self._clients) if from_clients else (self._peers,):
            self._docker_network(node, network).disconnect(self._container(node))

    def reconnect(self, node: str) -> None:
        """See ``Cluster``."""
        container = self._container(node)
        container.reload()
        present = container.attrs["NetworkSettings"]["Networks"]
        for network, aliases in ((self._clients, None), (self._peers, [node])):
            if network.name not in present:
                self._docker_network(node, network).connect(container, aliases=aliases)

    def rabbitmqctl(self, node: str, *words: str) -> str:
        """See ``Cluster``."""
        result = self._parts[node].exec(["rabbitmqctl", *words])
        if result.exit_code:
            raise PartFailedError(f"rabbitmqctl {' '.join(words)} failed: {result.output.decode()}")
        return result.output.decode()

    def log_text(self, name: str) -> str:
        """See ``Cluster``."""
        text: bytes = self._container(name).logs()
        return text.decode("utf-8", "replace")

    # --- inside ------------------------------------------------------------------------------------------

    def _broker(self, node: str) -> DockerContainer:
        container = DockerContainer(image("RABBITMQ_IMAGE"), network=self._clients)
        # Not as its host name, which would be an alias in both networks: peers find it in theirs alone.
        container.with_kwargs(user="rabbitmq", extra_hosts={node: LOOPBACK}, labels={OWNER_LABEL: _owner()})
        container.with_envs(
            RABBITMQ_NODENAME=self.erlang_name(node),
            RABBITMQ_DEFAULT_USER=USER,
            RABBITMQ_DEFAULT_PASS=PASSWORD,
            RABBITMQ_ERLANG_COOKIE="order-pipeline-tests",
            RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=ERLANG_ARGUMENTS,
            ERL_CRASH_DUMP_SECONDS="0",
        )
        publish(container, 5672, self.ports[f"{node}.amqp"])
        publish(container, 15672, self.ports[f"{node}.management"])
        deployed = project_root() / "deploy" / "rabbitmq"
        container.with_volume_mapping(deployed / "enabled_plugins", "/etc/rabbitmq/enabled_plugins")
        container.with_volume_mapping(self._configuration(deployed), "/etc/rabbitmq/rabbitmq.conf")
        return container

    def _postgres(self) -> DockerContainer:
        """Its data live in the container and end with it; one that is started again has them still."""
        container = DockerContainer(image("POSTGRES_IMAGE"), network=self._clients)
        container.with_kwargs(labels={OWNER_LABEL: _owner()})
        passwords = {
            f"{service.upper()}_DATABASE_PASSWORD": PASSWORD for service in postgres.services_with_database()
        }
        container.with_envs(POSTGRES_PASSWORD=PASSWORD, **passwords)
        logins = project_root() / "deploy" / "postgres" / "logins.sh"
        container.with_volume_mapping(logins, "/etc/order-pipeline/logins.sh")
        container.with_volume_mapping(postgres.LOGIN_SCRIPT, "/etc/order-pipeline/login.sql")
        publish(container, 5432, self.ports[POSTGRES])
        return container

    def _make_logins(self) -> None:
        """As its health check does in compose."""
        result = self._parts[POSTGRES].exec(["bash", "/etc/order-pipeline/logins.sh"])
        if result.exit_code:
            raise self._failure(POSTGRES, f"its logins could not be made: {result.output.decode()}")

    def _configuration(self, deployed: Path) -> Path:
        """What is deployed, and what tests need beside it; a later line wins."""
        path = self.layout.data_dir / "rabbitmq.conf"
        added = "".join(f"{name} = {value}\n" for name, value in RABBITMQ_CONF.items())
        path.write_text((deployed / "rabbitmq.conf").read_text(encoding="utf-8") + added, encoding="utf-8")
        path.chmod(0o644)
        return path

    def _container(self, name: str) -> Any:
        return self._parts[name].get_wrapped_container()

    def _state(self, name: str) -> Any:
        container = self._container(name)
        container.reload()
        return container.attrs["State"]

    def _docker_network(self, node: str, network: Network) -> Any:
        return self._container(node).client.networks.get(network.name)

    def _side_by_side(self, act: Any, names: Sequence[str]) -> None:
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(act, names))

    def _failure(self, name: str, what: str) -> PartFailedError:
        log = self.layout.log(name)
        log.write_text(self.log_text(name), encoding="utf-8")
        return PartFailedError(f"{name}: {what}", log=log)


def redis_container(
    data: Path, port: int, name: str = REDIS, *, network: Network | None = None
) -> DockerContainer:
    """The store or the cache as it is deployed, with its data in a folder of the host, not started yet."""
    data.mkdir(parents=True, exist_ok=True)
    container = DockerContainer(image("REDIS_IMAGE"), network=network)
    container.with_kwargs(labels={OWNER_LABEL: _owner()})
    deployed = project_root() / "deploy" / "redis"
    variables = re.findall(r">\$(\w+)", (deployed / f"{name}.acl").read_text(encoding="ascii"))
    container.with_command(["sh", "/etc/redis/start", name])
    container.with_envs(**dict.fromkeys(variables, PASSWORD))
    container.with_volume_mapping(deployed, "/etc/redis")
    container.with_volume_mapping(data, "/data", "rw")
    publish(container, 6379, port)
    return container


def keep_passwords(layout: Layout) -> None:
    """Every login has the same one here, as by default in compose."""
    Secrets(layout).keep({redis.secret(login): PASSWORD for login in users_of(REDIS)})


def pause(container: Any) -> None:
    """Freezes a container, which a busy machine may refuse at first."""
    for attempt in range(PAUSE_ATTEMPTS):
        try:
            container.pause()
        except APIError:
            if attempt == PAUSE_ATTEMPTS - 1:
                raise
            time.sleep(POLL_SECONDS)
        else:
            return


def publish(container: DockerContainer, inside: int, outside: int) -> None:
    """Makes a port of the container reachable from this machine alone, whatever testcontainers' types say."""
    ports: dict[str, Any] = container.ports
    ports[f"{inside}/tcp"] = (LOOPBACK, outside)


@contextmanager
def container_cluster() -> Iterator[ContainerCluster]:
    """Three brokers and the stores that run, removed after the block."""
    with tempfile.TemporaryDirectory(prefix="orders-", ignore_cleanup_errors=True) as folder:
        cluster = ContainerCluster(Path(folder))
        try:
            cluster.create()
            cluster.start()
            yield cluster
        finally:
            cluster.remove()
            processes.reap()


@contextmanager
def container_redis_server() -> Iterator[RedisServer]:
    """A Redis alone, removed after the block."""
    with tempfile.TemporaryDirectory(prefix="orders-redis-", ignore_cleanup_errors=True) as folder:
        port, layout = free_port(), Layout(Path(folder))
        layout.create()
        keep_passwords(layout)
        container = redis_container(layout.part(REDIS), port)
        try:
            container.start()
            is_up = processes.wait_until(lambda: stores.ready(layout, REDIS, port), START_SECONDS)
            assert is_up, "Redis is not up"
            running: Any = container.get_wrapped_container()
            yield RedisServer(
                port=port,
                login_url=partial(redis.url, layout, port),
                freeze=partial(pause, running),
                thaw=running.unpause,
            )
        finally:
            container.stop()


def remove_leftovers() -> None:
    """Removes what runs of this machine left that died before they could; nothing without our label."""
    client = DockerClient().client
    boot = _owner().partition(":")[2].partition(":")[0]
    for kind, remove in (
        (client.containers.list(all=True, filters={"label": OWNER_LABEL}), {"force": True, "v": True}),
        (client.networks.list(filters={"label": OWNER_LABEL}), {}),
    ):
        for leftover in kind:
            labels = leftover.attrs.get("Labels") or leftover.attrs["Config"]["Labels"]
            pid, _, start = labels[OWNER_LABEL].partition(":")
            if start.startswith(boot) and processes.start_of(int(pid)) != start:
                leftover.remove(**remove)
    client.close()


def _owner() -> str:
    return f"{os.getpid()}:{processes.start_of(os.getpid())}"
