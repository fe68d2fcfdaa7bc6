"""What one client, or all of them together, may take of a port."""

from dataclasses import dataclass
from types import TracebackType

from shared.http.problems import TOO_BUSY, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """Bounds of one port.

    ``first_byte_timeout_seconds`` is for a new connection that stays silent, ``head_timeout_seconds`` for the
    request line and headers, ``body_timeout_seconds`` for the body after them, and ``write_timeout_seconds``
    for a client that takes none of its answer. ``max_concurrent_requests`` counts requests in a ``Gate``.
    """

    body_bytes: int = 65_536
    first_byte_timeout_seconds: float = 10.0
    head_timeout_seconds: float = 5.0
    body_timeout_seconds: float = 5.0
    write_timeout_seconds: float = 30.0
    keep_alive_seconds: float = 75.0
    max_concurrent_requests: int = 512
    max_connections: int = 2_048
    connections_per_address: int = 256


class Gate:
    """Lets a bounded number of requests work at the same time and turns the others away at once."""

    __slots__ = ("_inside", "_limit")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0

    def __enter__(self) -> None:
        if self._inside >= self._limit:
            raise Problem(TOO_BUSY, "Too many requests are being worked on. Nothing was accepted: ask again.")
        self._inside += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside -= 1
