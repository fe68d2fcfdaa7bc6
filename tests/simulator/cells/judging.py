"""What is wrong with a world of cells: by a witness of every script, and by what is left in the end."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, Final

from shared import keyspace
from shared.orders.model import OUTCOMES, OrderStatus
from shared.orders.moves import ANNOUNCED, told_steps
from shared.orders.records import OrderRecord
from tests.simulator.cells.cell_store import SLOTS_KEY, TAKEN, escrow_to
from tests.simulator.cells.slots import SlotMap, slot_of
from tests.simulator.clients import Ledger
from tests.simulator.judging import read_orders
from tests.simulator.moving import Movers
from tests.simulator.store import StoreServer

CHANGING: Final = (keyspace.inventory(""), SLOTS_KEY)
Servers = Mapping[str, StoreServer]
"""The stores of all cells, by name."""


@dataclass(slots=True)
class CellWitness:
    """Sees the answers of all cells' scripts, as no client can."""

    accepted: defaultdict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    """Cells and times at which an order was accepted as new, by its id."""
    decided: defaultdict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    """Outcomes and times that were decided, by the order's id."""
    refused: int = 0
    """Requests that came to a cell which has not their slot."""
    has_news: bool = False
    """Whether a script has run that may change stock, or where orders are."""

    def saw(self, cell: str, keys: Sequence[str], result: Any) -> None:
        """A script was run with these keys and returned that."""
        self.has_news |= any(key.startswith(CHANGING) for key in keys)
        if not isinstance(result, list) or not keys:
            return
        self.refused += result[0] == "full"
        if keys[0].startswith(keyspace.claim("")) and result[0] == "new":
            self.accepted[keys[1].removeprefix(keyspace.order(""))].add((cell, result[1]))
        if len(keys) > 1 and keys[1].startswith(keyspace.decision("")) and result[0] in OUTCOMES:
            self.decided[keys[0].removeprefix(keyspace.order(""))].add((result[0], result[1]))

    def faults(self) -> Iterator[str]:
        """Orders of which there were two."""
        for order_id, times in self.accepted.items():
            if len(times) > 1:
                yield f"accepted twice: {order_id} by {sorted(times)}"
        for order_id, decisions in self.decided.items():
            if len(decisions) > 1:
                yield f"decided twice: {order_id} as {sorted(decisions)}"


def stock_faults(servers: Servers, supplied: Mapping[str, int]) -> Iterator[str]:
    """At any instant: no cell has less than nothing, and all pieces are somewhere, each once."""
    latest: dict[str, OrderRecord] = {}  # of two copies, the one that went on
    for server in servers.values():
        for order_id, found in read_orders(server).items():
            before = latest.get(order_id)
            if isinstance(found, OrderRecord) and (
                before is None or len(before.timeline) < len(found.timeline)
            ):
                latest[order_id] = found
    taken: Counter[str] = Counter()
    for counted in (*map(_pieces, latest.values()), *_in_escrow(servers)):
        taken.update(counted)
    available = {name: _available(server, [*supplied]) for name, server in servers.items()}
    for sku, pieces in supplied.items():
        there = {name: stock[sku] for name, stock in available.items()}
        if min(there.values()) < 0:
            yield f"oversold: {sku} is {there}"
        if sum(there.values()) + taken[sku] != pieces:
            yield f"stock not conserved: of {pieces} {sku} {there} are there, {taken[sku]} sold or in escrow"


def _in_escrow(servers: Servers) -> Iterator[Mapping[str, int]]:
    """What was debited in one cell and is not credited in the other."""
    taken = {name: server.carry_out("HGETALL", TAKEN) for name, server in servers.items()}
    for source, server in servers.items():
        for cell in servers.keys() - {source}:
            for number, text in server.carry_out("HGETALL", escrow_to(cell)).items():
                if int(number) > int(taken[cell].get(source, 0)):
                    sku, qty = text.split("\t")
                    yield {sku: int(qty)}


def slot_faults(servers: Servers) -> Iterator[str]:
    """At any instant: a slot is open in one cell at most."""
    holders: defaultdict[str, list[str]] = defaultdict(list)
    for name, server in servers.items():
        for slot, held in server.carry_out("HGETALL", SLOTS_KEY).items():
            if held.endswith("open"):
                holders[slot].append(name)
    for slot, names in holders.items():
        if len(names) > 1:
            yield f"two holders: slot {slot} is open in {names}"


def final_faults(
    servers: Servers, slot_map: SlotMap, ledger: Ledger, movers: Movers, announced: AbstractSet[str]
) -> Iterator[str]:
    """When all is still: each promise kept in one cell, which the map names, and books that balance."""
    found = {name: read_orders(server) for name, server in servers.items()}
    places: defaultdict[str, list[str]] = defaultdict(list)
    for name, records in found.items():
        for order_id in records:
            places[order_id].append(name)
    for order_id in sorted(ledger.acknowledged | places.keys()):
        yield from _of_order(order_id, places[order_id], found, slot_map)
    for name in sorted(ledger.unanswered):
        yield f"not answered: {name} still asks"
    for order_id, count in ledger.accepted.items():
        if count > 1:
            yield f"accepted twice: {order_id} was promised as new {count} times"
    for key, promised in ledger.by_key.items():
        if len(promised) > 1:
            yield f"one key, two orders: {key} was promised as {sorted(promised)}"
    yield from ledger.faults
    whole = {order_id: record for records in found.values() for order_id, record in records.items()}
    yield from (f"moved: {fault}" for fault in movers.faults(whole))
    for record in whole.values():
        yield from _of_announcements(record, announced)
    for name, server in servers.items():
        yield from _of_books(name, server, found[name].values())


def _of_order(
    order_id: str,
    places: Sequence[str],
    found: Mapping[str, Mapping[str, OrderRecord | str]],
    slot_map: SlotMap,
) -> Iterator[str]:
    if not places:
        yield f"lost: {order_id} was acknowledged, and no cell has it"
        return
    if len(places) > 1:
        yield f"in two cells: {order_id} is in {places}"
    record = found[places[0]][order_id]
    if isinstance(record, str):
        yield f"unreadable: {order_id}, {record}"
        return
    holder = slot_map.holdings[slot_of(record.customer or "")].cell
    if holder not in places:
        yield f"astray: {order_id} is in {places}, and its slot in {holder}"
    if record.status is OrderStatus.ACCEPTED:
        yield f"not decided: {order_id} in {places[0]}"


def _of_announcements(record: OrderRecord | str, announced: AbstractSet[str]) -> Iterator[str]:
    """Each step that customers are told of was published, in whichever cell."""
    if isinstance(record, OrderRecord):
        for step in told_steps(record.status, record.outcome):
            event_id = f"{record.order.id}:{ANNOUNCED[step]}"
            if event_id not in announced:
                yield f"not announced: {event_id}"


def _of_books(name: str, server: StoreServer, records: Iterable[OrderRecord | str]) -> Iterator[str]:
    """Each cell's sums agree by themselves, as ``orderctl verify`` asks of one pipeline."""
    reserved = {sku: int(pieces) for sku, pieces in server.carry_out("HGETALL", keyspace.RESERVED).items()}
    supplied = {sku: int(pieces) for sku, pieces in server.carry_out("HGETALL", keyspace.SUPPLIED).items()}
    sold: Counter[str] = Counter()
    for record in records:
        sold.update(_pieces(record))
    for sku, available in _available(server, [*supplied]).items():
        taken = reserved.get(sku, 0)
        if taken != sold[sku]:
            yield f"books of {name}: {taken} {sku} reserved, {sold[sku]} in orders"
        if supplied[sku] != available + taken:
            yield f"books of {name}: {supplied[sku]} {sku} supplied, {available} there, {taken} reserved"


def _pieces(found: OrderRecord | str) -> Mapping[str, int]:
    """What an order has taken out of stock, by SKU."""
    if isinstance(found, str) or found.outcome is not OrderStatus.CREATED or found.released:
        return {}
    return {item.sku: item.qty for item in found.order.items}


def _available(server: StoreServer, skus: Sequence[str]) -> dict[str, int]:
    found = server.carry_out("MGET", *map(keyspace.inventory, skus))
    return {sku: int(pieces or 0) for sku, pieces in zip(skus, found, strict=True)}
