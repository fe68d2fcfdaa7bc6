"""Redis, the cache and PostgreSQL alike: where one is, how it is started and ended, whether it answers."""

import os
import signal
from collections.abc import Mapping

from orderctl.native import postgres, processes, redis
from orderctl.native.layout import Layout
from orderctl.native.ports import POSTGRES
from orderctl.native.processes import ProcessRecord

STOP_SIGNALS: Mapping[str, signal.Signals] = {POSTGRES: signal.SIGINT}
"""Where it is not SIGTERM: PostgreSQL then waits for its clients, for ever."""


def url(layout: Layout, name: str, port: int) -> str:
    """Where the store is for its operator, whether it runs or not."""
    return postgres.url(layout, port) if name == POSTGRES else redis.url(layout, port)


def start(layout: Layout, name: str, port: int) -> ProcessRecord:
    """Start its process; raises OrderctlError where that cannot be."""
    if name == POSTGRES:
        return postgres.start(layout, port)
    command = redis.configure(layout, port, name)
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC"}
    return processes.spawn(layout, name, command, environment=environment, cwd=layout.part(name))


def ready(layout: Layout, name: str, port: int) -> bool:
    """True once it has loaded its data and answers."""
    return postgres.ready(port) if name == POSTGRES else redis.ready(redis.url(layout, port))


def grant(layout: Layout, name: str, port: int) -> None:
    """Give each service its login to one that answers; raises PartFailedError."""
    if name == POSTGRES:
        postgres.grant(layout, port)
    else:
        redis.grant(layout, port, name)


def fault(layout: Layout, name: str, port: int) -> str:
    """What is wrong with one that was just started, if anything is."""
    if name == POSTGRES:
        return ""
    wrong = redis.differing(redis.url(layout, port), redis.server_settings(port, name))
    return f"it has other settings than it was started with: {', '.join(wrong)}" if wrong else ""
