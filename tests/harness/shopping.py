"""A customer who has signed in at the gateway, and a product that it buys while its price changes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.harness.client import Answer, GatewayClient
from tests.harness.waiting import wait_until

PASSWORD: Final = "a long walk at noon"
CURRENCY: Final = "EUR"


@dataclass(slots=True)
class Customer:
    """Has an account, and a token once it has signed in."""

    client: GatewayClient
    name: str
    headers: dict[str, str] = field(default_factory=dict)

    async def register(self) -> None:
        """Makes the account, however slow the machine is."""
        body = {"username": self.name, "email": f"{self.name}@shop.example", "password": PASSWORD}
        await _made(self.client, "/users", body)

    async def sign_in(self) -> Answer:
        """Asks for a token, which is kept where there is one."""
        body = {"username": self.name, "password": PASSWORD}
        answer = await self.client.request("POST", "/tokens", json=body)
        if answer.status == 200:
            self.headers["Authorization"] = f"Bearer {answer.body['access_token']}"
        return answer


@dataclass(slots=True)
class Product:
    """What operators of a gateway where a token is optional do with it. ``amounts`` may have been its price
    at some time; ``settled`` are those that it may have now.
    """

    client: GatewayClient
    sku: str
    amounts: set[int] = field(default_factory=set)
    settled: set[int] = field(default_factory=set)

    @property
    def path(self) -> str:
        """Where it is shown."""
        return f"/products/{self.sku}"

    async def create(self, amount: int) -> None:
        """Puts it into the catalogue."""
        body: dict[str, Any] = {"sku": self.sku, "name": "Case", "unit_amount": amount, "currency": CURRENCY}
        self.amounts, self.settled = {amount}, {amount}
        await _made(self.client, "/products", body)

    async def show(self) -> Answer:
        """What it costs, by the word of the catalogue."""
        return await self.client.request("GET", self.path)

    async def reprice(self, amount: int) -> Answer:
        """Another price, if the answer is 200; any other answer leaves open whether there is one."""
        self.amounts.add(amount)
        self.settled.add(amount)
        answer = await self.client.request("PATCH", self.path, json={"unit_amount": amount})
        if answer.status == 200:
            self.settled = {amount}
        return answer


async def _made(client: GatewayClient, path: str, body: Mapping[str, Any]) -> None:
    async def is_made() -> bool:
        return (await client.request("POST", path, json=body)).status in {201, 409}

    await wait_until(is_made, what=f"POST {path}")
