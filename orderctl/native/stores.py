"""Redis, the cache and PostgreSQL alike: where one is, how it is started and ended, whether it answers."""

import os
import signal
from collections.abc import Mapping

from orderctl.native import postgres, processes, redis
from orderctl.native.layout import Layout
from orderctl.native.ports import LOOPBACK, POSTGRES
from orderctl.native.processes import ProcessRecord

STOP_SIGNALS: Mapping[str, signal.Signals] = {POSTGRES: signal.SIGINT}
"""Where it is not SIGTERM: PostgreSQL then waits for its clients, for ever."""


def url(layout: Layout, name: str, port: int) -> str:
    """Where the store is, whether it runs or not; PostgreSQL for its operator."""
    return postgres.url(layout, port) if name == POSTGRES else redis_url(port)


def redis_url(port: int) -> str:
    """A Redis of this machine."""
    return f"redis://{LOOPBACK}:{port}/0"


def start(layout: Layout, name: str, port: int) -> ProcessRecord:
    """Start its process; raises OrderctlError where that cannot be."""
    if name == POSTGRES:
        return postgres.start(layout, port)
    command = redis.configure(layout, port, name)
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8"}
    return processes.spawn(layout, name, command, environment=environment, cwd=layout.part(name))


def ready(name: str, port: int) -> bool:
    """True once it has loaded its data and answers."""
    return postgres.ready(port) if name == POSTGRES else redis.ready(port)


def settle(layout: Layout, name: str, port: int) -> str:
    """What is left to do for one that answers; says what is wrong with it, if anything.

    Raises PartFailedError.
    """
    if name == POSTGRES:
        postgres.grant(layout, port)
        return ""
    wrong = redis.differing(port, redis.server_settings(port, name))
    return f"it has other settings than it was started with: {', '.join(wrong)}" if wrong else ""
