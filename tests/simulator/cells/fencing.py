"""The real scripts behind a fence: a cell accepts and decides for customers whose slot it has alone."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.resources import files
from typing import Final

from shared.orders.redis.scripts import NAMES, PACKAGE as ORDERS
from shared.redis.scripts import Script
from tests.simulator.cells.slots import SLOTS
from tests.simulator.planted import rewritten

PACKAGE: Final = "tests.simulator.cells"
FENCE: Final = f"local SLOTS = {SLOTS}\n" + files(PACKAGE).joinpath("fence.lua").read_text("utf-8")
CHECKS: Final[Mapping[str, tuple[str, str]]] = {
    "accept": ("local claim, record, accepted", "if not takes(ARGV[17]) then return {'full'} end\n"),
    "decide": ("local record, pending, count", "if not takes(ARGV[10]) then return {CANCELLED} end\n"),
    "move": (
        "local record, pending, deciding",
        "if not takes(owner_of(KEYS[1])) then return {'unknown'} end\n",
    ),
}
"""What stands before which line of each script. The gateway answers 503, as where the outbox is full, or that
there is no such order. A message whose slot is gone is acked: the order is in the outbox of another cell."""


@contextmanager
def fenced() -> Iterator[None]:
    """Every accept and decide script that is loaded meanwhile has its check."""
    with ExitStack() as stack:
        for name, (line, check) in CHECKS.items():
            stack.enter_context(rewritten(ORDERS, name, (line, f"{FENCE}{check}{line}"))())
        yield


def load(name: str) -> Script:
    """A script of this package, behind what all scripts of orders share, and the fence."""
    return Script.load(PACKAGE, name, head=NAMES + Script.load(ORDERS, "head").source + FENCE)
