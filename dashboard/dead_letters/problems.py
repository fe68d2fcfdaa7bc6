"""What can be wrong with a request about dead letters."""

from typing import Final

from shared.errors import BrokerUnavailable, DependencyUnavailable
from shared.http.problems import BROKER_UNAVAILABLE, Problem, ProblemType
from shared.messaging.dead_letters import DeadLettersBusy

BUSY: Final = ProblemType(
    name="dead-letters-busy", status=503, title="The dead letters are busy", retry_after_seconds=2
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
