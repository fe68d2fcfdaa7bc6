"""What can go wrong, in the words that the operator reads."""

from pathlib import Path


class OrderctlError(Exception):
    """Raised when a command cannot do what it was asked; the text is shown as it is."""

    def __init__(self, message: str, *, log: Path | None = None, advice: str | None = None) -> None:
        super().__init__(message)
        self.log = log
        self.advice = advice


class UsageError(OrderctlError):
    """Raised when a command cannot be asked for like that; nothing was tried."""


class ModeUnavailableError(OrderctlError):
    """Raised when the asked mode does not exist here; nothing was started."""


class PortTakenError(OrderctlError):
    """Raised when a port that the operator chose belongs to somebody else."""


class PartFailedError(OrderctlError):
    """Raised when a broker, Redis or a service did not start, did not become ready, or died."""


class NotRunningError(OrderctlError):
    """Raised when what is asked for does not run, or a stranger listens where it would."""


class UnknownPartError(OrderctlError):
    """Raised when a name is none of the parts that can be started, stopped or killed."""
