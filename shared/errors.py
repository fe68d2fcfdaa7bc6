"""Every failure that code outside an adapter may meet.

Adapters translate what their libraries raise (``raise ... from``), so that routers and handlers decide
by meaning: can this message never succeed, may it succeed later, or is a whole dependency away?
"""


class PipelineError(Exception):
    """Root of the errors that this project raises on purpose."""


class DecodeError(PipelineError):
    """Raised when bytes from the wire are not an event that this version can read."""


class PermanentError(PipelineError):
    """Raised when doing the same thing again cannot help: the message is dead-lettered."""


class RetryableError(PipelineError):
    """Raised when this one message may succeed later."""


class RefusedWrite(RetryableError):
    """Raised when a store refuses what a handler wants written, so that nothing was; the text says why."""


class DependencyUnavailable(PipelineError):
    """Root of the errors that say a whole dependency is away: no message is at fault, so it is waited out."""


class BrokerUnavailable(DependencyUnavailable):
    """Raised when a publish got no confirm. Its outcome is unknown: the message may be enqueued yet."""


class Unroutable(BrokerUnavailable):
    """Raised when the broker returned a mandatory message: the queue behind its routing key is gone."""


class SubscriptionLost(PipelineError):
    """Raised when a consumer will receive nothing more: its deliveries come again to another one."""


class StoreUnavailable(DependencyUnavailable):
    """Raised when Redis did not answer in time, refused writes, or could not be reached."""


class ServiceUnavailable(DependencyUnavailable):
    """Raised when another of our services did not answer, or not in time. ``service`` is its name."""

    def __init__(self, service: str, reason: str) -> None:
        super().__init__(f"{service}: {reason}")
        self.service = service
        self.reason = reason


class SenderUnavailable(DependencyUnavailable):
    """Raised when the way to the customers is shut for all of them: nothing was sent, nobody can be told."""


class DatabaseUnavailable(DependencyUnavailable):
    """Raised when the SQL database did not answer in time, refused, or could not be reached.

    What was being written may have been written: the outcome is unknown.
    """
