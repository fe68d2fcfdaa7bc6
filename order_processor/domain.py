"""Decisions about orders, as values. Imports nothing that can wait."""

from dataclasses import dataclass

from shared.decisions import Created, Rejected, event_of

__all__ = ["Created", "Decision", "Rejected", "Undecidable", "event_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecidable:
    """The order cannot be decided by asking again: its record is gone or another's, or stock is broken."""

    reason: str
    detail: str


Decision = Created | Rejected | Undecidable
