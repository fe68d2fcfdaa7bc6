"""How long-running work reports itself, without knowing whether a terminal or a test is listening."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class StepState(StrEnum):
    """Where a step stands; `NOTE` is a remark that belongs to no step."""

    WAITING = "waiting"
    WORKING = "working"
    DONE = "done"
    FAILED = "failed"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of the checklist: a part or a task, its state, and what it is doing just now."""

    name: str
    state: StepState
    detail: str = ""


Progress = Callable[[Step], None]


def silent(step: Step) -> None:
    """Listen to nothing; for callers who only want the result."""


def note(progress: Progress, text: str) -> None:
    """Report a remark, such as a port that was taken."""
    progress(Step(name="", state=StepState.NOTE, detail=text))
