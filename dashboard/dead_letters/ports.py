"""What looking into dead letters needs of the store."""

from collections.abc import Collection, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Protocol


class Turns(Protocol):
    """Sees to it that one at a time looks at the dead letters, whichever process it is in."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Holds the turn for the block. Raises DeadLettersBusy when it did not come, and StoreUnavailable."""


class ErasedOrders(Protocol):
    """Orders whose customer was erased, as ``{order id}:{content fingerprint}``. Raises StoreUnavailable."""

    async def ages(self) -> Mapping[str, float]:
        """How many seconds ago each was erased that is still looked for."""

    async def forget(self, contents: Collection[str]) -> None:
        """These are looked for no more."""
