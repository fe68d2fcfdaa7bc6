"""Embedded mode: the whole pipeline in one process, for a first look and for demonstrations.

The services are the same, built by the same `main` from an Infrastructure: here the in-memory broker, which
is held to the contract suite of the real one, and fakeredis, which runs the same scripts.
"""

from typing import Final

PROCESS: Final = "embedded"
NODE: Final = "in-memory"
WARNING: Final = (
    "embedded mode, for a first look: orders, stock and messages live in one process; nothing survives it"
)
