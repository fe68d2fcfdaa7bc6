"""A payment provider with books of its own, over a wire that loses, delays and repeats what it is asked."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from order_processor.provider import Authorised, Charge, Declined, ProviderUnanswered
from tests.simulator.network import Cut, Network, Passage
from tests.simulator.weather import Weather

DECLINES: Final = 0.2
Result = TypeVar("Result")


@dataclass(slots=True)
class Account:
    """What happened under one key; ``is_voided`` is for good."""

    taken: int = 0
    returned: int = 0
    is_declined: bool = False
    is_voided: bool = False


class Bank:
    """See PaymentProvider. Of its requests a share of ``mishaps`` goes wrong until the weather is calm."""

    def __init__(self, network: Network, weather: Weather, dice: random.Random, mishaps: float) -> None:
        self.accounts: dict[str, Account] = {}
        self._network = network
        self._weather = weather
        self._dice = dice
        self._mishaps = mishaps

    async def authorise(self, charge: Charge) -> Authorised | Declined:
        """See PaymentProvider."""
        return await self._asked(lambda: self._authorise(charge.key))

    async def void(self, key: str) -> None:
        """See PaymentProvider."""
        await self._asked(lambda: self._void(key))

    async def _asked(self, serve: Callable[[], Awaitable[Result]]) -> Result:
        if self._goes_wrong():
            self._network.spawn(self._repeat(serve))
        return await self._network.ask(serve, self._passage(), lambda: ProviderUnanswered("no answer"))

    async def _repeat(self, serve: Callable[[], Awaitable[Result]]) -> None:
        """The same request comes once more, at any time, and nobody waits for its answer."""
        passage = Passage(there=self._dice.choice((0.001, 2.0, 20.0)) * self._dice.random(), back=0.0)
        await self._network.ask(serve, passage, lambda: ProviderUnanswered("no answer"))

    def _passage(self) -> Passage:
        cut = self._dice.choice((Cut.BEFORE, Cut.AFTER)) if self._goes_wrong() else Cut.NOWHERE
        there = 12.0 * self._dice.random() if self._goes_wrong() else 0.05 * self._dice.random()
        return Passage(there=there, back=0.05 * self._dice.random(), cut=cut)

    def _goes_wrong(self) -> bool:
        return not self._weather.is_calm and self._dice.random() < self._mishaps

    async def _authorise(self, key: str) -> Authorised | Declined:
        account = self.accounts.get(key)
        if account is None:
            account = self.accounts[key] = Account(is_declined=self._dice.random() < DECLINES)
            account.taken = int(not account.is_declined)
        if account.is_declined or account.is_voided:
            return Declined(reason="voided" if account.is_voided else "insufficient_funds")
        return Authorised()

    async def _void(self, key: str) -> None:
        account = self.accounts.setdefault(key, Account())
        account.is_voided, account.returned = True, account.taken
