"""What other cells ask of one cell's store: its slots, the orders in them, and pieces of its stock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from shared import keyspace
from shared.messages import OrderItem, decode_order
from shared.orders.model import OrderStatus, Trouble
from shared.redis.client import Redis, store_deadline
from tests.simulator.cells.fencing import load
from tests.simulator.cells.slots import slot_of
from tests.simulator.services import DAY_SECONDS, STORE_SECONDS

SLOTS_KEY: Final = "cell.slots"
NUMBERS, TAKEN = "escrow.numbers", "escrow.taken"
"""The last number that a transfer got, by the cell that it goes to, and that was taken, by the other cell."""
BOOKS: Final = (keyspace.RESERVED, keyspace.SUPPLIED)
UNFINISHED: Final = (keyspace.UNTOLD, keyspace.MOVES)
WITHOUT_STOCK: Final = frozenset({OrderStatus.ACCEPTED, OrderStatus.REJECTED, OrderStatus.CANCELLED})
RETRIES: Final = ("trouble", "reason", "attempts", "noted", "next_attempt_at")
"""Fields about attempts, which begin anew where the order goes."""


def escrow_to(cell: str) -> str:
    """Pieces on their way to another cell, as ``sku, qty`` by number."""
    return f"escrow:to:{cell}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SlottedOrder:
    """An order as it travels: its record, what its ``Idempotency-Key`` stands for, what is yet to be done.

    ``untold`` has ids of events that its customer is to hear of, ``moves`` what is to be announced.
    """

    record: Mapping[str, str]
    key: Mapping[str, str]
    untold: Sequence[str]
    moves: Sequence[str]

    @property
    def id(self) -> str:
        return self.record["id"]

    @property
    def pieces(self) -> list[str | int]:
        """SKU and quantity of each item whose stock it has."""
        if self.record["status"] in WITHOUT_STOCK:
            return []
        items: Sequence[OrderItem] = decode_order(self.record["order"]).items
        return [word for item in items for word in (item.sku, item.qty)]

    @property
    def parts(self) -> Sequence[Sequence[str | int]]:
        """What comes along."""
        return (self.pieces, self.untold, self.moves)

    @property
    def keys(self) -> list[str]:
        """Its own keys: record, customer's index, claim, and key."""
        customer, key = self.record["customer"], self.record["idempotency_key"]
        record = keyspace.order(self.id)
        named = keyspace.idempotency_key(key, customer) if key else record
        return [record, keyspace.orders_of(customer), keyspace.claim(self.id), named]


class CellStore:
    """One cell's store, as another process of any cell sees it. Methods raise StoreUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis: Any = redis
        self._hold, self._adopt, self._forget = load("hold"), load("adopt"), load("forget")
        self._debit, self._credit = load("debit"), load("credit")

    async def hold(self, slot: int, epoch: int, *, is_open: bool) -> bool:
        """Opens or shuts a slot; whether the cell agrees, which knows of no later move then."""
        keys = [SLOTS_KEY, keyspace.orders_in(OrderStatus.ACCEPTED), keyspace.UNTOLD, keyspace.OUTBOX]
        words = [slot, epoch, "open" if is_open else "shut", keyspace.order("")]
        return bool(await self._run(self._hold, keys, words))

    async def orders_in(self, slot: int) -> list[SlottedOrder]:
        """Every order of a slot, as the store has it."""
        found: list[SlottedOrder] = []
        async with store_deadline(STORE_SECONDS):
            owned = keyspace.orders_of("")
            for index in sorted(await self._redis.keys(f"{owned}*")):
                if slot_of(index.removeprefix(owned)) == slot:
                    for order_id in await self._redis.zrange(index, 0, -1):
                        found += await self._order(order_id)
        return found

    async def _order(self, order_id: str) -> list[SlottedOrder]:
        record: dict[str, str] = await self._redis.hgetall(keyspace.order(order_id))
        if not record:
            return []
        untold, moves = [
            [each for each in await self._redis.zrange(key, 0, -1) if each.startswith(f"{order_id}:")]
            for key in UNFINISHED
        ]
        order = SlottedOrder(record=record, key={}, untold=untold, moves=moves)
        named = order.keys[-1]
        key = {} if named == keyspace.order(order_id) else await self._redis.hgetall(named)
        return [replace(order, key=key)]

    async def adopt(self, slot: int, epoch: int, order: SlottedOrder) -> bool:
        """Takes an order over; whether it is there, and no later move has begun."""
        record = dict(order.record)
        if record["status"] == OrderStatus.ACCEPTED:
            record = {name: value for name, value in record.items() if name not in RETRIES}
        index = keyspace.orders_in(OrderStatus(record["status"]))
        keys = [SLOTS_KEY, *order.keys, *BOOKS, *UNFINISHED, keyspace.LOG, index]
        words: list[str | int] = [slot, epoch, order.id, record["accepted_at"], DAY_SECONDS]
        parts = (*order.parts, _flat(order.key), _flat(record))
        return bool(await self._run(self._adopt, keys, [*words, *_counted(parts)]))

    async def forget(self, slot: int, epoch: int, order: SlottedOrder) -> bool:
        """Forgets an order that has gone; whether it is not there, and no later move has begun."""
        lists = [keyspace.orders_in(each) for kind in (OrderStatus, Trouble) for each in kind]
        keys = [SLOTS_KEY, *order.keys, *BOOKS, *UNFINISHED, keyspace.OUTBOX, *lists]
        words = [slot, epoch, order.id, *_counted(order.parts)]
        return bool(await self._run(self._forget, keys, words))

    async def debit(self, to: str, sku: str, qty: int) -> int:
        """Puts up to ``qty`` available pieces into escrow; returns how many."""
        keys = [keyspace.inventory(sku), keyspace.SUPPLIED, NUMBERS, escrow_to(to)]
        return int(await self._run(self._debit, keys, [to, sku, qty]))

    async def credit(self, source: str, number: int, sku: str, qty: int) -> int:
        """Takes pieces out of another cell's escrow; returns the number up to which all were taken."""
        keys = [keyspace.inventory(sku), keyspace.SUPPLIED, TAKEN, keyspace.STOCK_CHANGED]
        return int(await self._run(self._credit, keys, [source, number, sku, qty]))

    async def in_escrow(self, to: str) -> list[tuple[int, str, int]]:
        """Number, SKU and quantity of what is on its way to a cell, the oldest first."""
        async with store_deadline(STORE_SECONDS):
            found = await self._redis.hgetall(escrow_to(to))
        return sorted((int(number), *_pieces(text)) for number, text in found.items())

    async def settle(self, to: str, number: int) -> None:
        """A cell has taken what has this number."""
        async with store_deadline(STORE_SECONDS):
            await self._redis.hdel(escrow_to(to), number)

    async def _run(self, script: Any, keys: Sequence[str], words: Sequence[str | int]) -> Any:
        async with store_deadline(STORE_SECONDS):
            return await script.run(self._redis, keys, words)


def _flat(fields: Mapping[str, str]) -> Sequence[str]:
    return [word for field in fields.items() for word in field]


def _counted(parts: Sequence[Sequence[str | int]]) -> list[str | int]:
    return [word for part in parts for word in (len(part), *part)]


def _pieces(text: str) -> tuple[str, int]:
    sku, qty = text.split("\t")
    return sku, int(qty)
