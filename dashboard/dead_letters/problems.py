"""What can be wrong with a request about dead letters."""

from typing import Final

from shared.errors import BrokerUnavailable, DependencyUnavailable
from shared.http.problems import Problem, ProblemType
from shared.messaging.dead_letters import DeadLettersBusy

INVALID: Final = ProblemType(name="invalid-request", status=422, title="Invalid request")
MALFORMED: Final = ProblemType(name="malformed-request", status=400, title="Malformed request")
UNSUPPORTED: Final = ProblemType(name="unsupported-body", status=415, title="Unsupported body")
TOO_LARGE: Final = ProblemType(name="body-too-large", status=413, title="Body too large")
TIMEOUT: Final = ProblemType(name="request-timeout", status=408, title="Request timeout")
UNAUTHORIZED: Final = ProblemType(name="unauthorized", status=401, title="Unauthorized")
FORBIDDEN: Final = ProblemType(name="forbidden", status=403, title="Forbidden")
BUSY: Final = ProblemType(
    name="dead-letters-busy", status=503, title="The dead letters are busy", retry_after_seconds=2
)
BROKER_UNAVAILABLE: Final = ProblemType(
    name="broker-unavailable", status=503, title="No broker is available", retry_after_seconds=2
)


def problem_of(error: DependencyUnavailable) -> Problem | None:
    """The problem behind an absent dependency; None where the application knows one itself."""
    match error:
        case DeadLettersBusy():
            return Problem(BUSY, "Somebody else is looking at the dead letters. Ask again.")
        case BrokerUnavailable():
            return Problem(BROKER_UNAVAILABLE, "No broker answers in time. Nothing was done; ask again.")
        case _:
            return None
