"""How many messages a consumer has in hand, by how many events they hold and how large they are."""

from typing import Final

from shared.messages import is_batch

EVENTS_IN_HAND: Final = 1_000
"""What a consumer should have in hand: half a second of work, and as much as a drain still finishes."""
BYTES_IN_HAND: Final = 16_777_216
"""What they may take in memory; larger messages weigh as much as the events that would take their place."""
LEAST: Final = 16
FIRST: Final = 32
"""Where nothing is known of the messages yet; it grows as soon as it is what holds up a consumer."""
TYPICAL_EVENT_BYTES: Final = 400
_MEMORY: Final = 32
"""Over so many messages their weight is averaged."""


class Prefetch:
    """The prefetch of one queue's consumers, one after the other: ``most`` for messages of one event, fewer
    where messages of many, or large ones, prevail.

    The broker takes a prefetch at the beginning of a consumer only, so that another one takes a new consumer.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._weight = 1.0
        self._is_used_up = False
        self.size = min(most, FIRST)

    def note(self, body: bytes, in_hand: int) -> None:
        """A message has arrived, and so many are in hand with it."""
        events = max(2, len(body) // TYPICAL_EVENT_BYTES) if is_batch(body) else 1
        weight = max(events, len(body) * EVENTS_IN_HAND / BYTES_IN_HAND)
        self._weight += (weight - self._weight) / _MEMORY
        self._is_used_up = self._is_used_up or in_hand >= self.size

    def fits(self) -> bool:
        """Whether the size of now is about right."""
        return self.size / 2 < self._wanted() < self.size * 2

    def fit(self) -> int:
        """The size for the next consumer."""
        self.size, self._is_used_up = self._wanted(), False
        return self.size

    def _wanted(self) -> int:
        by_events = max(LEAST, round(EVENTS_IN_HAND / self._weight))
        return min(self._most, by_events if self._is_used_up else min(by_events, self.size))
