"""What is wrong after a simulation: the oracle's verdict, and what only somebody who saw it all can say."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from orderctl.money import Paying, PriceEvidence
from orderctl.oracle import Evidence, OrderState, Sighting, StockState, Unreadable, Verdict, judge
from shared import keyspace
from shared.errors import DecodeError
from shared.keyspace import NotificationStatus
from shared.messages import Event, OrderPlaced, decode_all, epoch_microseconds
from shared.orders.model import OrderStatus, Trouble
from shared.orders.moves import ANNOUNCED, told_steps
from shared.orders.records import OrderRecord, read_record
from shared.pipeline import NOTIFIER, ORDER_PROCESSOR
from tests.simulator.bank import Account, Bank
from tests.simulator.clients import Ledger
from tests.simulator.moving import Movers
from tests.simulator.services import COUNTED, COUNTER, Surroundings
from tests.simulator.store import StoreServer

Records = Mapping[str, OrderRecord | str]
"""Orders by id, or what is wrong with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What is left when all is still. ``dead_letters`` has the bodies by dead-letter queue."""

    around: Surroundings
    ledger: Ledger
    movers: Movers
    dead_letters: Mapping[str, list[bytes]]
    poisoned: list[tuple[str, bytes]]


def faults_at(scene: Scene) -> tuple[list[str], Verdict]:
    """Everything that is wrong, in words, and the oracle's verdict."""
    records = read_orders(scene.around.store.server)
    verdict = judge(_evidence(scene, records))
    found = [
        f"{kind}: {who}: {verdict.why.get(who, '')}"
        for kind, offenders in [*verdict.faults().items(), ("changed_by_hand", verdict.changed_by_hand)]
        for who in offenders
    ]
    found += [
        *scene.ledger.faults,
        *scene.around.price_list.faults,
        *_of_keys(scene, records),
        *_of_answers(scene.ledger),
    ]
    found += [*_of_dead_letters(scene, records), *_of_messages(scene), *_of_notifications(scene, records)]
    found += [*_of_log(scene, records), *_of_counters(scene)]
    found += scene.movers.faults(records)
    found += scene.around.customers.faults(scene.around.plan.letters_per_hour)
    return found, verdict


def read_orders(server: StoreServer) -> Records:
    """Every order's record by id; what is wrong with it instead, where it cannot be read."""
    records: dict[str, OrderRecord | str] = {}
    for key in sorted(server.carry_out("KEYS", keyspace.order("*"))):
        order_id = key.removeprefix(keyspace.order(""))
        try:
            records[order_id] = read_record(server.carry_out("HGETALL", key))
        except DecodeError as error:
            records[order_id] = str(error)
    return records


def _evidence(scene: Scene, records: Records) -> Evidence:
    ledger, customers = scene.ledger, scene.around.customers
    contents = {
        order_id: items
        for order_id, items in ledger.contents.items()
        if order_id not in ledger.contested or ledger.accepted[order_id]
    }
    return Evidence(
        stock=stock_of(scene),
        attempted=ledger.attempted,
        acknowledged=ledger.acknowledged,
        contents=contents,
        orders=sightings(scene.around.store.server, records, scene.around.bank),
        notified=customers.told(),
        events=scene.around.broker.bodies.keys(),
        is_whole=True,
        prices=PriceEvidence(
            promised=ledger.costs,
            announced={
                event.id: event.data.prices
                for bodies in scene.around.broker.bodies.values()
                for event in _events_in(bodies)
            },
            letters=customers.totals,
        ),
    )


def sightings(server: StoreServer, records: Records, bank: Bank) -> list[Sighting]:
    """Every order that a record or an index names."""
    listed = _listings(server)
    orders = [
        _with_payment(server, _sighting(server, order_id, found, listed), found, bank)
        for order_id, found in records.items()
    ]
    orders += [
        Unreadable(order_id=order_id, fault=f"listed as {statuses}, and has no record", listed=statuses[0])
        for order_id, statuses in listed.items()
        if order_id not in records
    ]
    return orders


def _listings(server: StoreServer) -> dict[str, list[OrderStatus]]:
    listed: dict[str, list[OrderStatus]] = {}
    for status in OrderStatus:
        for order_id in server.carry_out("ZRANGE", keyspace.orders_in(status), 0, -1):
            listed.setdefault(order_id, []).append(status)
    return listed


def _sighting(
    server: StoreServer, order_id: str, found: OrderRecord | str, listed: Mapping[str, list[OrderStatus]]
) -> Sighting:
    places = listed.get(order_id, [])
    if isinstance(found, str):
        return Unreadable(order_id=order_id, fault=found)
    if len(places) != 1:
        return Unreadable(order_id=order_id, fault=f"listed as {places or 'nothing'}")
    state = OrderState(
        order=found.order,
        status=found.status,
        outcome=found.outcome,
        trouble=found.trouble,
        sequence=found.sequence,
        released=found.released,
        listed=places[0],
        prices=found.prices,
    )
    note = server.carry_out("HGETALL", keyspace.notifications(order_id))
    is_failed = note.get("status") == NotificationStatus.FAILED
    last = state.last_step
    mark = last and server.carry_out("GET", keyspace.notification_claim(f"{order_id}:{ANNOUNCED[last]}"))
    is_declined = mark == NotificationStatus.DECLINED
    return replace(state, undeliverable=is_failed, unconfirmed="unconfirmed" in note, declined=is_declined)


def _with_payment(server: StoreServer, sighting: Sighting, found: OrderRecord | str, bank: Bank) -> Sighting:
    if not isinstance(sighting, OrderState) or not isinstance(found, OrderRecord) or found.payment is None:
        return sighting
    account = bank.accounts.get(found.order.id, Account())
    paying = Paying(
        payment=found.payment,
        taken=account.taken,
        returned=account.returned,
        is_due=server.carry_out("ZSCORE", keyspace.PAYMENTS_DUE, found.order.id) is not None,
    )
    return replace(sighting, paying=paying)


def stock_of(
    scene: Scene,
    *,
    archived: Mapping[str, int] | None = None,
    archived_orders: int = 0,
    archived_undecided: int = 0,
) -> StockState:
    """The stock as it is, and what somebody read of the archive."""
    server, supplied = scene.around.store.server, scene.around.plan.supplied
    reserved = server.carry_out("HGETALL", keyspace.RESERVED)
    return StockState(
        decided=int(server.carry_out("GET", keyspace.PROCESSED_COUNT) or 0),
        available={sku: int(server.carry_out("GET", keyspace.inventory(sku))) for sku in supplied},
        reserved={sku: int(pieces) for sku, pieces in reserved.items()},
        supplied=supplied,
        archived=archived or {},
        archived_orders=archived_orders,
        archived_undecided=archived_undecided,
        releases=int(server.carry_out("GET", keyspace.RELEASES) or 0),
    )


def _of_keys(scene: Scene, records: Records) -> Iterator[str]:
    """One ``Idempotency-Key``, one order."""
    orders = [found for found in records.values() if isinstance(found, OrderRecord)]
    for key, count in Counter(found.idempotency_key for found in orders if found.idempotency_key).items():
        if count > 1:
            yield f"{count} orders for {key}"
    for key, promised in scene.ledger.by_key.items():
        if len(promised) > 1:
            yield f"{key} was promised as {sorted(promised)}"


def _of_answers(ledger: Ledger) -> Iterator[str]:
    for name in sorted(ledger.unanswered):
        yield f"{name} still asks"
    for order_id, count in ledger.accepted.items():
        if count > 1:
            yield f"{order_id} was accepted {count} times"


def _of_dead_letters(scene: Scene, records: Records) -> Iterator[str]:
    """A dead order lies where an operator finds it, and so does poison."""
    lying = {
        event.subject
        for event in _events_in(scene.dead_letters[ORDER_PROCESSOR.dead_queue])
        if isinstance(event.data, OrderPlaced)
    }
    for order_id, found in records.items():
        if isinstance(found, OrderRecord) and found.trouble is Trouble.DEAD and order_id not in lying:
            yield f"{order_id} is dead, and lies in no queue"
    for trouble in Trouble:
        listed = scene.around.store.server.carry_out("ZRANGE", keyspace.orders_in(trouble), 0, -1)
        right = {
            order_id
            for order_id, found in records.items()
            if isinstance(found, OrderRecord) and found.trouble is trouble
        }
        if right != set(listed):
            yield f"{sorted(right)} are {trouble}, and {listed} are listed"
    for queue, body in scene.poisoned:
        if body not in scene.dead_letters[queue] and (queue, body) not in scene.around.dropped:
            yield f"poison {body!r} is not in {queue}"


def _of_log(scene: Scene, records: Records) -> Iterator[str]:
    """The log has every step of every order, in the order in which they happened; some stand there again."""
    entered: dict[str, list[tuple[str, ...]]] = {}
    for _, entry in scene.around.store.server.carry_out("XRANGE", keyspace.LOG, "-", "+"):
        steps = entered.setdefault(entry["o"], [])
        if int(entry["n"]) == len(steps) + 1:
            steps.append(tuple(entry[name] for name in ("at", "t", "reason", "by")))
        elif int(entry["n"]) > len(steps) + 1:
            yield f"step {entry['n']} of {entry['o']} was entered after step {len(steps)}"
    for order_id, found in records.items():
        if isinstance(found, OrderRecord):
            told = [
                (str(epoch_microseconds(step.at)), step.step, step.reason or "", step.by or "")
                for step in found.timeline
            ]
            if told != entered.get(order_id):
                yield f"the log has {entered.get(order_id)} of {order_id}, its record {told}"


def _of_counters(scene: Scene) -> Iterator[str]:
    """Every event that was announced is counted once, or a dead letter of the counter's."""
    if not scene.around.plan.counters:
        return
    counted = scene.around.store.server.carry_out("HGETALL", f"{COUNTER.service}:{COUNTED}")
    dead = {event.id for event in _events_in(scene.dead_letters[COUNTER.dead_queue])}
    announced = {
        event.id
        for bodies in scene.around.broker.bodies.values()
        for event in _events_in(bodies)
        if COUNTER.takes(event.type)
    }
    for event_id in sorted(announced | counted.keys()):
        count = int(counted.get(event_id, 0))
        if count != 1 and not (count == 0 and event_id in dead):
            yield f"{event_id} is counted {count} times"


def _events_in(bodies: Iterable[bytes]) -> Iterator[Event[Any]]:
    return (event for body in bodies for event in decode_all(body) if isinstance(event, Event))


def _of_messages(scene: Scene) -> Iterator[str]:
    for event_id, bodies in scene.around.broker.bodies.items():
        if len(bodies) > 1:
            yield f"{event_id} was published with different contents: {sorted(bodies)}"


def _of_notifications(scene: Scene, records: Records) -> Iterator[str]:
    """What the store says of notifications agrees with what arrived, and its sums with its parts."""
    server = scene.around.store.server
    statuses: Counter[str] = Counter()
    for order_id, found in records.items():
        note = server.carry_out("HGETALL", keyspace.notifications(order_id))
        if note:
            statuses[note["status"]] += 1
        if not isinstance(found, OrderRecord) or not told_steps(found.status, found.outcome):
            continue
        yield from _of_notification(scene, found, note)
    counts = server.carry_out("HGETALL", keyspace.NOTIFICATION_COUNTS)
    for event_id in server.carry_out("ZRANGE", keyspace.UNTOLD, 0, -1):
        yield f"the customer of {event_id} counts as one who is yet to be told"
    sums = {status: int(count) for status, count in counts.items() if int(count)}
    if sums != dict(statuses):
        yield f"notifications are counted as {sums}, and are {dict(statuses)}"


def _of_notification(scene: Scene, found: OrderRecord, note: Mapping[str, str]) -> Iterator[str]:
    order_id = found.order.id
    status = note.get("status", "unknown")
    has_arrived = any(event_id.startswith(f"{order_id}:") for event_id in scene.around.customers.arrivals)
    if status not in (NotificationStatus.SENT, NotificationStatus.FAILED, NotificationStatus.DECLINED):
        yield f"the notification of {order_id} is {status}"
    if status == NotificationStatus.SENT and not has_arrived and "unconfirmed" not in note:
        yield f"the notification of {order_id} is sent, and nothing arrived"
    if status == NotificationStatus.FAILED:
        event_id = note.get("event_id", "")
        dropped = [body for queue, body in scene.around.dropped if queue == NOTIFIER.dead_queue]
        events = _events_in([*scene.dead_letters[NOTIFIER.dead_queue], *dropped])
        if event_id not in {event.id for event in events}:
            yield f"the notification of {order_id} has failed, and lies in no queue"
