"""What the payment step needs of whoever moves the money."""

from dataclasses import dataclass
from typing import Protocol

from shared.errors import PipelineError


class ProviderUnanswered(PipelineError):
    """Raised when nobody knows whether the provider has done what it was asked for: it is asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What is asked of a customer, in the currency's smallest unit. ``key`` tells it from every other charge:
    it is the order's id, so that asking again asks for the same money.
    """

    key: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorised:
    """The money is the shop's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """It is not, and will not be under this key."""

    reason: str


class PaymentProvider(Protocol):
    """Moves money. Both methods may be repeated, at any time and at once, and raise ProviderUnanswered."""

    async def authorise(self, charge: Charge) -> Authorised | Declined:
        """Takes the money, once for each key. After ``void`` it is declined, however late it arrives."""

    async def void(self, key: str) -> None:
        """Whatever was taken under this key is given back, and nothing will be taken under it any more."""
