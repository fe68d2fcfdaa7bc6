"""Which of the numbers 1…N have been seen, one bit each."""

from collections.abc import Iterator


class Sequences:
    """A set of numbers from 1 to ``highest``; what lies beyond was given out after the count was taken."""

    def __init__(self, highest: int) -> None:
        self._highest = highest
        self._bits = bytearray(highest // 8 + 1)
        self.marked = 0

    def mark(self, number: int) -> bool:
        """Takes a number in; False if it has been taken in before, or is none that can be given out."""
        if number > self._highest:
            return True
        if number < 1:
            return False
        place, bit = divmod(number, 8)
        if self._bits[place] >> bit & 1:
            return False
        self._bits[place] |= 1 << bit
        self.marked += 1
        return True

    def is_marked(self, number: int) -> bool:
        """Whether it has been taken in."""
        return 0 < number <= self._highest and bool(self._bits[number // 8] >> (number % 8) & 1)

    def unmarked(self) -> Iterator[int]:
        """The numbers that have not been seen, in order."""
        return (
            number
            for number in range(1, self._highest + 1)
            if not self._bits[number // 8] >> (number % 8) & 1
        )
