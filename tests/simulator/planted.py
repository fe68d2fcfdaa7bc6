"""Bugs that were made in systems like this one, planted one by one to see that the simulator finds them."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final
from unittest import mock

import notifier.domain
import order_processor.handlers
import shared.orders.redis.decisions
import shared.redis.scripts
from api_gateway.announcing import AnnouncedMoves
from api_gateway.intake import OrderIntake
from api_gateway.relay import Relay
from dashboard.dead_letters.actions import Acted, Drop, Outcome as Sent, Redrive
from dashboard.dead_letters.desk import DeadLetterDesk
from dashboard.dead_letters.letter import Letter
from notifier.batches import ClaimedEvent
from notifier.handlers import NotificationHandler
from notifier.ports import Attempt, HandedOver
from notifier.quota import RedisLetterQuota
from notifier.sending import Dispatcher
from notifier.store import RedisNotificationStore
from shared.errors import BrokerUnavailable, DependencyUnavailable, SubscriptionLost
from shared.messages import Event, Order, Trace, event_time, split
from shared.messaging.batching import GatheringPublisher
from shared.messaging.dead_letters import Letters
from shared.messaging.ports import Delivery, OutgoingMessage, Subscription
from shared.messaging.retry import Dead, Done, Outcome, Retry, outcome_of_error
from shared.messaging.router import Router
from shared.messaging.settlement import Settlement, message_of, single
from shared.orders.decisions import event_of
from shared.orders.model import OrderStatus
from shared.orders.records import OrderRecord, placed_event
from shared.redis.client import Redis
from shared.redis.scripts import Script, ScriptCall

ORDERS: Final = "shared.orders.redis"
Planting = Callable[[], contextlib.AbstractContextManager[Any]]


def replaced(owner: Any, name: str, bug: Any) -> Planting:
    """A method with a bug in the place of the real one."""
    assert hasattr(owner, name), f"there is no {name} to plant a bug in"
    return lambda: mock.patch.object(owner, name, bug)


def rewritten(package: str, name: str, *changes: tuple[str, str]) -> Planting:
    """A script with other text in some places; every place must be there."""

    @contextmanager
    def planting() -> Iterator[None]:
        load = Script.load

        def load_rewritten(_: type[Script], from_package: str, script: str, head: str = "") -> Script:
            loaded = load(from_package, script, head=head)
            if (from_package, script) != (package, name):
                return loaded
            source = loaded.source
            for old, new in changes:
                assert old in source, f"{name}.lua has no {old!r} any more"
                source = source.replace(old, new)
            return Script(name, source)

        with mock.patch.object(Script, "load", classmethod(load_rewritten)):
            yield

    return planting


# --- the router -------------------------------------------------------------------------------------------


async def _ack_first(self: Any, works: Sequence[Any], subscription: Subscription) -> None:
    await self._handle(works)
    await subscription.ack(works[-1].delivery)
    await self._settle(works)


async def _settle_failures_alone(self: Any, works: Sequence[Any]) -> None:
    for work in works:
        if isinstance(work.outcome, Retry | Dead):
            body = split(work.delivery.body)[work.place]
            await self._settlement.move(work.outcome, work.delivery, body, None)


def _ack_with_the_first(self: Any, delivery: Delivery, **how: bool) -> list[Any]:
    """The ack comes when the first event of a batch is settled."""
    works: list[Any] = _OPEN(self, delivery, **how)
    for work in works:
        work.is_last = True
    return works


async def _take_the_first_for_all(self: Any, messages: Sequence[OutgoingMessage]) -> Sequence[None]:
    """The first event of a batch is published, and all are taken for confirmed."""
    await self._publisher.publish(messages[0])
    return [None] * len(messages)


async def _move_a_neighbour(self: Any, outcome: Any, delivery: Delivery, body: bytes, event: Any) -> None:
    await _MOVE(self, outcome, delivery, split(delivery.body)[0], event)


async def _split_and_forget_one(self: Any, delivery: Delivery) -> None:
    bodies = split(delivery.body)[:-1]
    await self._publish_all([single(delivery, self._consumption.queue, body) for body in bodies])


async def _never_split(self: Any, queue: str, delivery: Delivery, letters: Letters) -> bool:
    return False


_OPEN: Final = Router._open
_MOVE: Final = Settlement.move


async def _stay_away(self: Any, stop: asyncio.Event) -> None:
    consuming = self._consuming
    with contextlib.suppress(SubscriptionLost):
        async with self._subscriber.subscribe(
            consuming.consumption.queue, prefetch=consuming.prefetch
        ) as subscription:
            await self._consume(subscription)
    await stop.wait()


async def _publish_once(self: Any, message: OutgoingMessage) -> None:
    with contextlib.suppress(BrokerUnavailable):
        await self._publisher.publish(message)


async def _tell_and_forget(self: Any, outcome: Retry | Dead, *_: object) -> None:
    """Nothing is moved: the ack that follows drops the message."""


async def _take_outages_for_faults(self: Any, handler: Any, works: Sequence[Any]) -> None:
    batch = [work.incoming for work in works]
    bare = self._consuming.handlers[type(batch[0].event.data)]  # without the router's own middleware
    try:
        outcomes: Sequence[Outcome] = await bare(batch)
    except DependencyUnavailable:
        outcomes = [Done() for _ in batch]
    except RuntimeError as error:
        outcomes = [outcome_of_error(error) for _ in batch]
    for work, outcome in zip(works, outcomes, strict=True):
        work.outcome = outcome


# --- the gateway ------------------------------------------------------------------------------------------


async def _trust_the_broker(self: Any, message: OutgoingMessage) -> bool:
    with contextlib.suppress(BrokerUnavailable):
        await self._send(message)
    return True


async def _relay_and_hope(self: Any, order_ids: Sequence[str]) -> int:
    records = [record for record in await self._store.get_many(order_ids) if record is not None]
    await self._outbox.remove(order_ids)
    for record in records:
        await self._publisher.publish(message_of(record.placed))
    return len(records)


async def _relay_nothing(self: Any) -> int:
    return 0


async def _announce_and_hope(self: Any, moves: Sequence[tuple[str, OrderStatus]]) -> int:
    await self._moves.announced(moves)
    return await _ANNOUNCE(self, moves)


_ANNOUNCE: Final = AnnouncedMoves._announce


# --- the processor ----------------------------------------------------------------------------------------


def _event_of_now(order: Order, decision: Any, trace: Trace) -> Event[Any]:
    """The time of the announcement instead of the decision's."""
    event = event_of(order, decision, trace)
    return replace(event, time=event_time(round(asyncio.get_running_loop().time() * 1_000_000)))


# --- the notifier -----------------------------------------------------------------------------------------


async def _mark_then_send(
    self: Any, notification: object, attempts: Sequence[Attempt], unconfirmed: object, together: object
) -> Outcome:
    await self._store.mark_sent(attempts)
    outcome: Outcome = await self._send(notification, attempts, 1, together)
    return outcome


async def _mark_nothing(self: Any, attempts: Sequence[Attempt]) -> None:
    """What went out is not written down."""


async def _mark_then_flush(self: Any, attempts: Sequence[Attempt], batch: Any) -> None:
    """The lines are out a moment after the marks."""
    outcomes = [await self._send(each.notification, [each], 1, batch) for each in attempts]
    told = [each for each, outcome in zip(attempts, outcomes, strict=True) if isinstance(outcome, Done)]
    await self._store.mark_sent(told)
    await self._sender.flush()
    batch.outcomes |= zip((each.owner for each in attempts), outcomes, strict=True)


async def _send_unclaimed(self: Any, turn: Sequence[Any], batch: Any) -> None:
    for claimed in turn:
        await self._dispatcher.send_letter([claimed.attempt], 0, batch)


async def _take_unknown_for_refused(
    self: Any, attempts: Sequence[Attempt], handed: HandedOver, *_: object
) -> Outcome:
    handed.answer.cancel()
    outcome: Outcome = await self._released(attempts, Retry(reason="send_failed", error="no answer"))
    return outcome


async def _let_all_go(self: Any, *_: object, **__: object) -> float:
    return 0.0


async def _note_nothing_and_go(self: Any, attempts: Sequence[Attempt]) -> bool:
    """The second letter goes, and what dies on the way knows nothing of it."""
    return True


async def _drop_what_is_held(self: Any, turn: Sequence[Any], together: Any) -> None:
    await _CONCLUDE(self, turn, together)
    for owner, outcome in together.outcomes.items():
        if isinstance(outcome, Retry) and outcome.reason == "claimed_elsewhere":
            together.outcomes[owner] = Done()


_CONCLUDE: Final = NotificationHandler._conclude


# --- the dashboard ----------------------------------------------------------------------------------------


async def _send_back_and_hope(self: Any, letter: Letter) -> Acted:
    acted: Acted = await _PUBLISH_LETTER(self, letter)
    return replace(acted, outcome=Sent.REDRIVEN, fault=None)


async def _drop_silently(self: Any, letter: Letter, decision: object) -> Acted:
    return Acted(letter=letter, outcome=Sent.DROPPED)


_PUBLISH_LETTER: Final = Redrive._publish


# --- the scripts ------------------------------------------------------------------------------------------


async def _load_then_run(self: Any, redis: Redis, calls: Sequence[ScriptCall], *, whole: bool = False) -> Any:
    if whole:
        await redis.script_load(self.source)
    return await _PIPELINE(self, redis, calls)


_PIPELINE: Final = Script._pipeline
_LOOKED_UP: Final = "known[1], known[2], known[5] or ARGV[2]"
_LEGAL: Final = "if not (MOVES[status] and MOVES[status][to]) then"
_CHECKED: Final = "elseif tonumber(available) < qty and reason == '' then"

_COMPARED: Final = """
if ARGV[15] ~= '' and select(3, priced()) ~= ARGV[15] then return {'price_changed', (priced()) or ''} end
"""
_LOOKED_AT_AGAIN: Final = """
local function today(text)
  local amount = redis.call('HGET', 'product:' .. ARGV[first_item], 'unit_amount')
  return amount and string.gsub(text, '\\n%d+\\t', '\\n' .. amount .. '\\t', 1) or text
end
"""

BUGS: Final[Mapping[str, Planting]] = {
    "a script does not look at its rights": replaced(shared.redis.scripts, "_guard", lambda _: ""),
    "ack before the event is published": replaced(Router, "_see_through", _ack_first),
    "no event is published": replaced(Router, "_settle", _settle_failures_alone),
    "a consumer that lost its connection stays away": replaced(Router, "_consume_until", _stay_away),
    "a publish without a confirm counts as published": replaced(Settlement, "_publish", _publish_once),
    "poison and retries are acked away": replaced(Settlement, "move", _tell_and_forget),
    "a store that is away counts as done": replaced(Router, "_run", _take_outages_for_faults),
    "a batch is acked with its first event": replaced(Router, "_open", _ack_with_the_first),
    "a batch is confirmed by its first event": replaced(GatheringPublisher, "_send", _take_the_first_for_all),
    "a neighbour of the failed event is moved": replaced(Settlement, "move", _move_a_neighbour),
    "a split batch loses an event": replaced(Settlement, "split", _split_and_forget_one),
    "a dead batch is dropped unread": replaced(DeadLetterDesk, "_is_split", _never_split),
    "the outbox entry goes without a confirm": replaced(OrderIntake, "_confirm", _trust_the_broker),
    "the relay removes before the confirm": replaced(Relay, "publish", _relay_and_hope),
    "nothing is relayed": replaced(Relay, "relay_once", _relay_nothing),
    "accepted without an outbox entry": rewritten(
        ORDERS, "accept", ("redis.call('ZADD', outbox, now, order_id)\n", "")
    ),
    "accepted without looking at what exists": rewritten(
        ORDERS,
        "accept",
        ("if existing[1] and not began then", "if false then"),
        ("if claimed then return {'duplicate', '', ''} end", ""),
        ("if not began then\n  redis.call('HSET', record", "if true then\n  redis.call('HSET', record"),
    ),
    "a total does not count the pieces": rewritten(
        ORDERS, "accept", ("tonumber(amount) * tonumber(ARGV[first_qty + i - 1])", "tonumber(amount)")
    ),
    "a known order is compared with today's prices": rewritten(
        ORDERS,
        "accept",
        (
            "local existing = not replayed",
            _COMPARED + "local existing = not replayed",
        ),
    ),
    "a replay has today's prices": rewritten(
        ORDERS, "accept", ("and '1' or '0', prices}", "and '1' or '0', priced() or ''}")
    ),
    "a price is looked at again for the decision": rewritten(
        ORDERS,
        "decide",
        (
            "local items = (",
            _LOOKED_AT_AGAIN + "local items = (",
        ),
        ("or (status and '' or ARGV[9])", "or (status and '' or ARGV[9])\nprices = today(prices)"),
    ),
    "the relay forgets the prices": replaced(
        OrderRecord, "placed", property(lambda self: placed_event(self.order, self.accepted_at, self.trace))
    ),
    "a letter names another total": replaced(notifier.domain, "_total", lambda data: "0.01 EUR"),
    "an event has the prices of its message": replaced(
        shared.orders.redis.decisions, "readable_prices", lambda order, text: None
    ),
    "the Idempotency-Key is forgotten": rewritten(
        ORDERS,
        "accept",
        ("if key and is_same then", "if false then"),
    ),
    "reserved without looking up the outcome": rewritten(
        ORDERS,
        "decide",
        (
            "local status, decided_at, accepted_at = known[1], known[2],",
            "local status, decided_at, accepted_at = known[1], nil,",
        ),
    ),
    "stock is not checked": rewritten(ORDERS, "decide", (_CHECKED, "elseif false then")),
    "a part of an order is taken": rewritten(
        ORDERS,
        "decide",
        (
            _CHECKED,
            "else redis.call('DECRBY', stock, 1)\n  end\n  if available and tonumber(available) < qty then",
        ),
    ),
    "the sum of reservations is not kept": rewritten(
        ORDERS, "decide", ("if not is_counted then", "if false then")
    ),
    "an order stands in two indexes": rewritten(
        ORDERS,
        "decide",
        ("for i = 8, 10 do\n  if stands", "for i = 9, 10 do\n  if stands"),
    ),
    "a decided order stays in trouble": rewritten(
        ORDERS, "decide", ("for i = 8, 10 do\n  if stands", "for i = 8, 8 do\n  if stands")
    ),
    "a failure overwrites a decision": rewritten(
        ORDERS, "delay", (" or known[6] then return 0", " then return 0")
    ),
    "a dead order begins to retry": rewritten(
        ORDERS,
        "delay",
        ("if before == DEAD and trouble == RETRYING then", "if false then"),
        ("if string.find(noted, note, 1, true) then", "if false then"),
    ),
    "the same event differs from time to time": replaced(order_processor.handlers, "event_of", _event_of_now),
    "marked before it is sent": replaced(Dispatcher, "_send_and_mark", _mark_then_send),
    "a group is marked before the log is flushed": replaced(Dispatcher, "send_group", _mark_then_flush),
    "a group is as large as a batch": replaced(
        ClaimedEvent,
        "most_unmarked",
        property(lambda self: 100 if self.attempt.channel == "log" else 1),
    ),
    "letters are marked in groups": replaced(ClaimedEvent, "most_unmarked", property(lambda _: 10)),
    "never marked as sent": replaced(RedisNotificationStore, "mark_sent", _mark_nothing),
    "sent without a claim": replaced(NotificationHandler, "_conclude", _send_unclaimed),
    "held by another counts as done": replaced(NotificationHandler, "_conclude", _drop_what_is_held),
    "letters to one address are not bounded": replaced(RedisLetterQuota, "take", _let_all_go),
    "an unknown answer counts as a refusal": replaced(Dispatcher, "_parked", _take_unknown_for_refused),
    "an unconfirmed letter may be followed by any number": rewritten(
        "notifier", "claim", ("if letters == '2' then return {'exhausted'} end", "")
    ),
    "the second letter is not noted before it goes": replaced(
        RedisNotificationStore, "begin_last", _note_nothing_and_go
    ),
    "a claim for ever": rewritten("notifier", "claim", ("'PX', ARGV[2])", "'EX', 86400)")),
    "a claim does not see what was sent": rewritten(
        "notifier",
        "claim",
        (
            "if held == 'sent' or held == 'sent:unconfirmed' or",
            "if held == 'sent' then held = nil elseif",
        ),
    ),
    "a late claim reopens what failed": rewritten(
        "notifier",
        "claim",
        ("is_same and known[2] == 'failed' and 'failed' or 'sending'", "'sending'"),
    ),
    "who was told counts as one who waits": rewritten(
        "notifier", "conclude", ("redis.call('ZREM', KEYS[4], ARGV[2])", "local _ = KEYS[4]")
    ),
    "anybody's release frees the claim": rewritten(
        "notifier",
        "conclude",
        (
            "local ours = held == 'sending:' .. ARGV[1] or (holder == ARGV[1] and holder ~= '')",
            "local ours = held and held ~= 'sent'",
        ),
    ),
    "a script is loaded before it is run": replaced(Script, "_pipeline", _load_then_run),
    "a letter goes though it was not sent back": replaced(Redrive, "_publish", _send_back_and_hope),
    "a redrive overwrites what came of it": rewritten(
        ORDERS, "revive", ("if #(known[3] or '') ~= tonumber(ARGV[2]) then return 0 end", "")
    ),
    "a decision is not entered in the log": rewritten(
        ORDERS, "decide", ("enter(log, order_id, timeline, first)", "local _ = log")
    ),
    "what told a customer is not entered in the log": rewritten(
        "notifier", "conclude", ("enter(log, ARGV[7], timeline, steps_in(timeline) - 1)", "local _ = log")
    ),
    "a scheduled order begins without a message": rewritten(
        ORDERS, "due", ("redis.call('ZADD', outbox, place, order_id)", "local _ = outbox")
    ),
    "a drop decides again": rewritten(
        ORDERS, "decide", (_LOOKED_UP, "known[1], ARGV[8] == '' and known[2], known[5] or ARGV[2]")
    ),
    "a drop is not announced": replaced(Drop, "_end", _drop_silently),
    "stock is given back twice": rewritten(
        ORDERS,
        "move",
        ("redis.call('GET', pending), status == to", "redis.call('GET', pending), false"),
        (_LEGAL, "if to ~= CANCELLED and not (MOVES[status] and MOVES[status][to]) then"),
    ),
    "stock is never given back": rewritten(ORDERS, "move", ("to == CANCELLED and known[2]", "false")),
    "a move that the table does not have": rewritten(ORDERS, "move", (_LEGAL, "if false then")),
    "a move without an announcement": rewritten(
        ORDERS, "move", ("redis.call('ZADD', moves, now, order_id .. ':' .. to)\n", "")
    ),
    "a move counts as announced before the confirm": replaced(
        AnnouncedMoves, "_announce", _announce_and_hope
    ),
    "created though it was cancelled": rewritten(
        ORDERS, "decide", ("if known[1] == CANCELLED and not known[2] then return {CANCELLED} end", "")
    ),
    "a cancelled order begins to retry": rewritten(
        ORDERS,
        "delay",
        ("if not known[1] or known[1] == CANCELLED or known[6]", "if not known[1] or known[6]"),
    ),
    "an earlier step is told after a later one": rewritten(
        "notifier",
        "claim",
        ("(is_behind and known[2] == 'sent') or place_of(known[7] or '') > place_of(ARGV[3])", "false"),
    ),
    "the sweep forgets the sums": rewritten(ORDERS, "sweep", ("= tonumber(ARGV[i + 1]) end", "= 0 end")),
}
