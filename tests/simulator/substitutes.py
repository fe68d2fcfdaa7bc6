"""Virtual time and seeded tokens in the place of ``time`` and ``secrets``, in the modules that import them.

Only while a simulation runs, and only there: fakeredis takes TIME and TTLs from the loop, leases and breakers
their clocks, and owners of leases the names that the seed gives them.
"""

import random
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any, Final

import fakeredis._helpers
import fakeredis._socket._base
import fakeredis.commands_mixins.scripting_mixin as fakeredis_scripting
import fakeredis.commands_mixins.server_mixin
import structlog

import api_gateway.relay
import dashboard.live.feed
import dashboard.live.telling
import notifier.batches
import notifier.handlers
import notifier.store
import shared.messaging.router
import shared.orders.redis.store
import shared.orders.redis.sweep
import shared.redis.lease
from shared.messaging.waiting import JITTER
from tests.harness.examples import AT
from tests.simulator.loop import SimulatedLoop
from tests.simulator.processes import current
from tests.simulator.trace import Trace

EPOCH_SECONDS: Final = AT / 1_000_000
"""When every simulation begins, by the store's clock."""
BATCH: Final = 2
"""So that relay and sweep page and notifications come in several groups, with the few orders there are."""
UNMARKED: Final = {"log": BATCH, "smtp": 1}
_SMALLER: Final[Sequence[tuple[ModuleType, str, object]]] = (
    (api_gateway.relay, "RELAY_BATCH", BATCH),
    (shared.orders.redis.sweep, "SWEEP_BATCH", BATCH),
    (notifier.batches, "MOST_UNMARKED", UNMARKED),
    (dashboard.live.feed, "AT_ONCE", BATCH),
    (dashboard.live.telling, "AT_ONCE", BATCH),
    (dashboard.live.feed, "POLL_SECONDS", 1.0),
)
_TIMED: Final[Sequence[ModuleType]] = (
    dashboard.live.feed,
    dashboard.live.telling,
    fakeredis._helpers,
    fakeredis._socket._base,
    fakeredis.commands_mixins.server_mixin,
    notifier.handlers,
    notifier.store,
    shared.messaging.router,
)
_SECRETIVE: Final[Sequence[ModuleType]] = (shared.orders.redis.store, notifier.batches, shared.redis.lease)


class VirtualTime:
    """The module ``time`` as far as the code under test uses it; what it lacks raises AttributeError.

    A process's wall clock is wrong by its skew; the store's is right.
    """

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop

    def time(self) -> float:
        """Seconds since the epoch."""
        process = current()
        return EPOCH_SECONDS + self._loop.time() + (process.clock_skew if process else 0.0)

    def monotonic(self) -> float:
        """Seconds since the simulation began."""
        return self._loop.time()


class SeededSecrets:
    """The module ``secrets`` likewise."""

    def __init__(self, random_: random.Random) -> None:
        self._random = random_

    def token_hex(self, size: int) -> str:
        """``size`` bytes that the seed decides, in hex."""
        return f"{self._random.getrandbits(8 * size):0{2 * size}x}"


@contextmanager
def substituted(loop: SimulatedLoop, random_: random.Random, trace: Trace) -> Iterator[VirtualTime]:
    """Puts the substitutes in place for the block; log lines go into the trace."""
    virtual, seeded, logging = VirtualTime(loop), SeededSecrets(random_), structlog.get_config()
    JITTER.seed(random_.getrandbits(64))
    for module in _TIMED:
        _put(module, "time", virtual)
    for module in _SECRETIVE:
        _put(module, "secrets", seeded)
    usual = [(module, name, getattr(module, name)) for module, name, _ in _SMALLER]
    for module, name, smaller in _SMALLER:
        _put(module, name, smaller)
    checks_globals = fakeredis_scripting._check_for_lua_globals
    # That scripts leave no globals behind shows in other tests; looking at each call costs a tenth of a run.
    fakeredis_scripting._check_for_lua_globals = lambda *_: None
    structlog.configure(
        processors=[trace.take_log_line],
        wrapper_class=structlog.make_filtering_bound_logger("info" if trace.is_kept else "critical"),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    try:
        yield virtual
    finally:
        structlog.configure(**logging)
        for module, name, value in usual:
            _put(module, name, value)
        fakeredis_scripting._check_for_lua_globals = checks_globals
        for module in _TIMED:
            _put(module, "time", time)
        for module in _SECRETIVE:
            _put(module, "secrets", secrets)


def _put(module: Any, name: str, value: object) -> None:
    assert hasattr(module, name), f"{module.__name__} has no {name} to stand in for"
    setattr(module, name, value)
