"""`orderctl sample`: users, products and orders to look at. Asked again, it makes what is missing alone."""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from orderctl.accounts_client import AccountsClient, accounts_of
from orderctl.commands.options import DataDir
from orderctl.errors import OrderctlError
from orderctl.gateway_client import GatewayAddress, GatewayClient, by_hand, gateway_of
from orderctl.http import bearer
from orderctl.terminal import readable_errors, say
from shared.orders.model import OrderStatus
from shared.orders.moves import EVENT_TYPES, steps_to

PRICED_SECONDS: Final = 10.0
"""New prices are where orders read them within one; what takes longer is said."""
DECIDED_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.2
PASSWORD_BYTES: Final = 12

USERS: Final = {"ana": "customer", "ben": "customer", "olga": "operator", "ada": "admin"}
PRODUCTS: Final = (
    # sku, name, category, unit amount in cents, pieces
    ("phone-case", "Phone case, clear", "Electronics", 2_499, 120),
    ("usb-c-cable", "USB-C cable, 2 m", "Electronics", 1_290, 300),
    ("headphones", "Headphones, over-ear", "Electronics", 8_900, 25),
    ("desk-lamp", "Desk lamp", "Electronics", 4_550, 3),
    ("field-guide", "A field guide to queues", "Books", 3_200, 60),
    ("novel", "The unacknowledged letter", "Books", 1_450, 80),
    ("atlas", "Atlas of small harbours", "Books", 5_900, 12),
    ("mug", "Mug, blue", "Kitchen", 990, 200),
    ("tea-pot", "Tea pot, cast iron", "Kitchen", 3_990, 15),
    ("bread-knife", "Bread knife", "Kitchen", 2_790, 40),
)
ORDERS: Final[Sequence[tuple[str, Mapping[str, int], OrderStatus]]] = (
    ("ana", {"phone-case": 1, "usb-c-cable": 2}, OrderStatus.DELIVERED),
    ("ana", {"novel": 1}, OrderStatus.SHIPPED),
    ("ana", {"tea-pot": 1, "mug": 4}, OrderStatus.PROCESSING),
    ("ben", {"headphones": 1}, OrderStatus.CREATED),
    ("ben", {"field-guide": 1, "atlas": 1}, OrderStatus.CANCELLED),
    ("ben", {"bread-knife": 2}, OrderStatus.SCHEDULED),
    ("ana", {"desk-lamp": 5}, OrderStatus.REJECTED),  # more than there are
    ("ben", {"garden-gnome": 1}, OrderStatus.REJECTED),  # no such product
)
"""Who orders what, and where that is to stand."""
OPERATOR: Final = "olga"
"""Who moves them on: behind a gateway elsewhere nothing else proves that it may."""
AHEAD: Final = timedelta(days=7)
CURRENCY: Final = "EUR"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shop:
    """What the sample is put into, and the headers of each customer who was made just now."""

    client: GatewayClient
    gateway: GatewayAddress
    passwords: Mapping[str, str]


def sample(data_dir: DataDir = None) -> None:
    """Make four users, ten products and eight orders to look at. What is there already stays as it is."""
    with readable_errors():
        passwords = _users(accounts_of(data_dir))
        for name, password in passwords.items():
            say(f"{name} ({USERS[name]}), password: {password}")
        gateway = gateway_of(None, data_dir, sees_all=True)
        shop = _Shop(client=by_hand(gateway), gateway=gateway, passwords=passwords)
        products, orders = asyncio.run(_fill(shop))
        say(f"{len(passwords)} users, {products} products and {orders['new']} orders are new")
        if orders["refused"]:
            say(f"{orders['refused']} orders were refused, as this gateway is told to", "yellow")
        say("see: orderctl product list")
        say("see: orderctl order list")


def _users(accounts: AccountsClient) -> Mapping[str, str]:
    """The password of each one that was missing."""
    there = {str(user["username"]) for user in accounts.users()}
    passwords = {name: secrets.token_urlsafe(PASSWORD_BYTES) for name in USERS if name not in there}
    for name, password in passwords.items():
        accounts.add(name, f"{name}@shop.example", password, USERS[name])
    return passwords


async def _fill(shop: _Shop) -> tuple[int, Counter[str]]:
    """How many products are new, and what became of the orders."""
    new = {each[0]: each[3] for each in PRODUCTS if await _add_product(shop.client, *each)}
    placing = {
        name: await _signed_in(shop, name) if name in shop.passwords else shop.client for name in USERS
    }
    orders: Counter[str] = Counter()
    for number, (name, items, status) in enumerate(ORDERS, start=1):
        order: dict[str, Any] = {
            "id": f"sample-{number}",
            "email": f"{name}@shop.example",
            "items": [{"sku": sku, "qty": qty} for sku, qty in items.items()],
        }
        if items.keys() <= new.keys():
            order["amount_total"] = sum(new[sku] * qty for sku, qty in items.items())
        if status is OrderStatus.SCHEDULED:
            order["not_before"] = (datetime.now(UTC) + AHEAD).isoformat(timespec="seconds")
        became = await _placed(placing[name], order)
        orders[became] += 1
        if became == "new":
            for step in steps_to(status, OrderStatus.CREATED):
                await _moved(placing[OPERATOR], order["id"], step)
    return len(new), orders


async def _add_product(
    client: GatewayClient, sku: str, name: str, category: str, unit_amount: int, pieces: int
) -> bool:
    """Whether it is new. Stock that was set before stays."""
    body = {"sku": sku, "name": name, "category": category, "unit_amount": unit_amount, "currency": CURRENCY}
    answer = await client.send("POST", "/products", body=body)
    if answer.status not in (201, 409):
        raise answer.failure()
    stock = await client.send("GET", f"/inventory/{sku}")
    if stock.status == 404:
        await client.set_stock(sku, pieces)
    return answer.status == 201


async def _signed_in(shop: _Shop, name: str) -> GatewayClient:
    """The gateway as this customer asks it."""
    body = {"username": name, "password": shop.passwords[name]}
    answer = await shop.client.send("POST", "/tokens", body=body)
    if answer.status != 200:
        raise answer.failure()
    headers = bearer(str(answer.body["access_token"]))
    return by_hand(GatewayAddress(url=shop.gateway.url, proof=lambda: headers))


async def _placed(client: GatewayClient, order: Mapping[str, Any]) -> str:
    """What became of it. A price that was set just now may be on its way to where orders read it."""
    deadline = time.monotonic() + PRICED_SECONDS
    while True:
        answer = await client.place(order)
        if answer.accepted:
            return "new"
        if answer.body.get("type") != "/problems/price-changed":
            break
        if time.monotonic() > deadline:
            raise OrderctlError("prices do not arrive where orders read them", advice="orderctl doctor")
        await asyncio.sleep(POLL_SECONDS)
    if answer.status == 409:
        return "known"
    if answer.body.get("type") == "/problems/unknown-products":
        return "refused"
    raise answer.failure()


async def _moved(client: GatewayClient, order_id: str, to: OrderStatus) -> None:
    """Moves the order on, once it is decided and paid for."""
    if to not in EVENT_TYPES:
        return
    deadline = time.monotonic() + DECIDED_SECONDS
    while True:
        answer = await client.send("PATCH", f"/orders/{order_id}/status", body={"status": to.value})
        if answer.status == 200:
            return
        is_early = answer.body.get("order_status") == OrderStatus.ACCEPTED or "payment" in answer.body
        if not is_early or time.monotonic() > deadline:
            raise answer.failure()
        await asyncio.sleep(POLL_SECONDS)
