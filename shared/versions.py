"""Versions of events: how what an older one says is raised to the next, and what is the same in all of them.

A consumer works with today's version of each event, and reads the older ones as if they had been of it. A
version comes beside the one before, which is sent on until no consumer of it is left; both have one id.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

UPCASTERS: Final[Mapping[str, Callable[[Any], Any]]] = {}
"""By the type of an event with its version: its data as the next version has it."""


@cache
def first_version(event_type: str) -> str:
    """The type under which the first version is sent: the name of the step in ids."""
    return f"{event_type.rpartition('.v')[0]}.v1"


def next_version(event_type: str) -> str:
    """The type of the version after it."""
    name, _, number = event_type.rpartition(".v")
    return f"{name}.v{int(number) + 1}"
