"""One RabbitMQ node of the private cluster: how it is configured and started.

The server's own script is started, not the wrapper on the PATH, which changes user and folder; and as if
under systemd, so that the script replaces itself by the broker and the recorded pid is the broker's. The
environment is built from nothing, so that no setting of another RabbitMQ on the machine reaches this one.
"""

import os
import secrets
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from orderctl.native import broker_users, packages, processes
from orderctl.native.layout import Layout
from orderctl.native.ports import EPMD, LOOPBACK, NODE_NAMES, Ports
from orderctl.programs import output_of

PLUGINS = ("rabbitmq_management", "rabbitmq_prometheus")

_LOG_READ_BYTES = 1024 * 1024
# Idle schedulers sleep instead of spinning, so that three nodes leave the processors to others. Those for
# files may spin for a moment, because handing each tiny file operation over costs more than it does: a start
# takes 5 s instead of 9.5 s, and a confirmed message 1.1 ms of processor time instead of 1.7 ms (two cores).
_ERLANG_ARGUMENTS = "+sbwt none +sbwtdcpu none +sbwtdio short -kernel inet_dist_use_interface {127,0,0,1}"
# A node that falls silent (frozen, or cut off without a word) is given up after 11 to 19 s, not a minute.
# A node that cannot find the others keeps waiting: after all three were killed, the first one back has to.
_CONFIGURATION = """\
# Written by orderctl at every start; changes here do not last.
listeners.tcp.1 = {host}:{amqp}
management.tcp.ip = {host}
management.tcp.port = {management}
prometheus.tcp.ip = {host}
prometheus.tcp.port = {prometheus}
cluster_name = order-pipeline
cluster_formation.peer_discovery_backend = classic_config
{peers}
cluster_partition_handling = pause_minority
net_ticktime = 15
mnesia_table_loading_retry_timeout = 30000
mnesia_table_loading_retry_limit = 1000
load_definitions = {definitions}
disk_free_limit.absolute = 50MB
vm_memory_high_watermark.relative = 0.2
raft.wal_max_size_bytes = 67108864
collect_statistics_interval = 5000
log.console = false
log.file = {log}
log.file.level = info
{more}
"""

# The node that starts before all others finds none of them, and need not look for 5 s.
FOUNDING: Final = {"cluster_formation.discovery_retry_limit": "1"}


def erlang_name(node: str) -> str:
    """The node's name inside Erlang; the host part is fixed, so that name resolution cannot matter."""
    return f"{node}@localhost"


def configure(layout: Layout, node: str, ports: Ports, more: Mapping[str, str]) -> list[str]:
    """Write the node's files; the answer is the command that starts it, given `environment`."""
    folder = layout.part(node)
    folder.mkdir(parents=True, exist_ok=True)
    purposes = ("amqp", "management", "prometheus")
    peers = (
        f"cluster_formation.classic_config.nodes.{number} = {erlang_name(peer)}"
        for number, peer in enumerate(NODE_NAMES, 1)
    )
    broker_users.write_operator(layout, folder / "operator.json")
    text = _CONFIGURATION.format(
        host=LOOPBACK,
        definitions=folder / "operator.json",
        log=layout.log(node),
        peers="\n".join(peers),
        more="\n".join(f"{name} = {value}" for name, value in more.items()),
        **{purpose: ports[f"{node}.{purpose}"] for purpose in purposes},
    )
    (folder / "rabbitmq.conf").write_text(text, encoding="utf-8")
    (folder / "enabled_plugins").write_text(f"[{','.join(PLUGINS)}].\n", encoding="ascii")
    (folder / "advanced.config").write_text("[].\n", encoding="ascii")
    (folder / "rabbitmq-env.conf").touch()
    return [str(packages.rabbitmq_program("rabbitmq-server"))]


def write_cookie(layout: Layout) -> None:
    """Make the secret that the three nodes share, once per data folder."""
    cookie = layout.home / ".erlang.cookie"
    if not cookie.exists():
        cookie.touch(mode=0o600)
        cookie.write_text(secrets.token_hex(20), encoding="ascii")
        cookie.chmod(0o400)


def environment(layout: Layout, node: str, ports: Ports) -> dict[str, str]:
    """The whole environment of a node, and of the programs that talk to it."""
    folder = layout.part(node)
    return {
        **erlang_environment(layout, ports),
        "RUNNING_UNDER_SYSTEMD": "true",
        "RABBITMQ_NODENAME": erlang_name(node),
        "RABBITMQ_DIST_PORT": str(ports[f"{node}.distribution"]),
        "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "data"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ERLANG_ARGUMENTS,
    }


def erlang_environment(layout: Layout, ports: Ports) -> dict[str, str]:
    """What every Erlang program of this system needs: its own HOME for the cookie, and its own epmd."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "ERL_CRASH_DUMP_SECONDS": "0",
        "HOME": str(layout.home),
        "ERL_EPMD_PORT": str(ports[EPMD]),
        "ERL_EPMD_ADDRESS": LOOPBACK,
    }


def gave_up(layout: Layout, node: str) -> bool:
    """True if the node was started last and did not come to serve, by the word of its log.

    Its process may be there still: a broker that was paused for want of a majority begins again within it,
    and gives up for good where the others are just starting (seen on 3.10: ``incompatible_feature_flags``).
    """
    record = processes.read_record(layout, node)
    if record is None or not layout.log(node).exists():
        return False
    found = layout.log(node).stat()
    return _ends_in_failure(layout.log(node), record.log_bytes, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=8)  # it is asked often, and a log rarely grows
def _ends_in_failure(log: Path, begin: int, size: int, _: int) -> bool:
    with log.open("rb") as stream:
        stream.seek(max(begin if begin <= size else 0, size - _LOG_READ_BYTES))
        text = stream.read(_LOG_READ_BYTES)
    return text.rfind(b"BOOT FAILED") > text.rfind(b"Server startup complete")


def run_program(
    layout: Layout, node: str, ports: Ports, command: Sequence[str], timeout_seconds: float = 60.0
) -> str:
    """Run one of RabbitMQ's programs against a node; raises PartFailedError when it fails."""
    program, *arguments = command
    return output_of(
        [str(packages.rabbitmq_program(program)), *arguments],
        seconds=timeout_seconds,
        environment=environment(layout, node, ports),
        folder=layout.data_dir,
        called=f"{' '.join(command)} on {node}",
    )
