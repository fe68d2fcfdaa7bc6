"""The scripts that write orders. Before each stand names of statuses and events, so that none spells one."""

from collections.abc import Sequence
from enum import StrEnum
from importlib.resources import files
from typing import Final

from shared.orders.decisions import EVENT_TYPES
from shared.orders.model import MOVES, OrderStatus, Trouble
from shared.orders.moves import ANNOUNCED
from shared.redis.scripts import Script

PACKAGE: Final = "shared.orders.redis"
_KINDS: Final[Sequence[type[StrEnum]]] = (OrderStatus, Trouble)
_NAMED: Final = {each.name: each.value for kind in _KINDS for each in kind}
_EVENTS: Final = ", ".join(f"[{outcome.name}] = {kind!r}" for outcome, kind in EVENT_TYPES.items())
_MOVES: Final = ", ".join(
    f"[{status.name}] = {{{', '.join(f'[{each.name}] = true' for each in following)}}}"
    for status, following in MOVES.items()
)
_PLACES: Final = ", ".join(
    f"[{kind!r}] = {place}"
    for place, status in enumerate(OrderStatus)
    for kind in (ANNOUNCED.get(status),)
    if kind
)
NAMES: Final = (
    f"local {', '.join(_NAMED)} = {', '.join(repr(value) for value in _NAMED.values())}\n"
    f"local EVENT_TYPES = {{{_EVENTS}}}\nlocal MOVES = {{{_MOVES}}}\nlocal PLACES = {{{_PLACES}}}\n"
)
_HEAD: Final = NAMES + files(PACKAGE).joinpath("head.lua").read_text("utf-8")


def load(name: str, package: str = PACKAGE) -> Script:
    """The script ``{name}.lua`` behind the names and functions that all of them share."""
    return Script.load(package, name, head=_HEAD)
