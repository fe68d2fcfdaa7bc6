"""Embedded mode for tests: a whole system in one process, on ports of its own."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared.services import SERVICES
from tests.harness.terminal import Operator
from tests.harness.workers import worker_number


@contextmanager
def operator_of_embedded(
    data_dir: Path, first_port: int, *, tree: Path | None = None, more: Sequence[str] = ()
) -> Iterator[Operator]:
    """Who may bring it up, on ports from ``first_port`` on, workers far apart; it is gone after the block.

    ``tree`` is whose code it is, if not this one's, and ``more`` the ports that it has besides.
    """
    operator = Operator(data_dir, tree)
    ports = [port for spec in SERVICES.values() for port in spec.ports.values()]
    operator.layout.create()
    numbers = range(first_port + 100 * worker_number(), 65_536)
    operator.layout.ports.write_text(json.dumps(dict(zip(["redis", *ports, *more], numbers, strict=False))))
    try:
        yield operator
    finally:
        operator.types("down", "--wipe")
