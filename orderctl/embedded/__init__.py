"""Embedded mode: the whole pipeline in one process, for a first look and for demonstrations.

The services are the same, built by the same `main` from an Infrastructure: here the in-memory broker, which
is held to the contract suite of the real one, and fakeredis, which runs the same scripts.
"""

from pathlib import Path
from typing import Final

PROCESS: Final = "embedded"
NODE: Final = "in-memory"
WARNING: Final = (
    "embedded mode, for a first look: orders, stock and messages live in one process; nothing survives it"
)


def database_url(folder: Path, service: str) -> str:
    """That of a service's database in the folder that is its own."""
    return f"sqlite:///{folder.resolve()}/{service}.db"
