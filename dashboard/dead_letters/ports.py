"""What looking into dead letters needs of the store."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Turns(Protocol):
    """Sees to it that one at a time looks at the dead letters, whichever process it is in."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Holds the turn for the block. Raises DeadLettersBusy when it did not come, and StoreUnavailable."""
