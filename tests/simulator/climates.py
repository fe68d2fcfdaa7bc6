"""Weather for the bugs that show once in a thousand seeds or less, so that they show in a hundred."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from tests.simulator.weather import Odds, Plan


def with_operator(plan: Plan, **odds: float) -> Plan:
    """The same with much that dies, and somebody who deals with it all the time."""
    return replace(
        plan,
        broken_skus=0.5,
        dashboards=2,
        repaired_at=plan.seconds / 2,
        odds=replace(plan.odds, **odds),
        pauses={**plan.pauses, "operator": 0.7},
    )


def rarely_answered(plan: Plan, pauses: Mapping[str, float] | None = None) -> Plan:
    """The same with a mail server that often does not say what became of a letter."""
    return replace(
        plan,
        unknown_mailboxes=0.0,
        mailboxes=1.0,
        seconds=300.0,
        odds=Odds(send_unclear=0.9),
        pauses=pauses or {},
    )


def with_poor_mail(plan: Plan) -> Plan:
    """The same with a slow store, few letters an hour, and a mail server that is never clear."""
    odds = replace(plan.odds, slow=0.8, send_unclear=0.5, send_refused=0.2)
    return replace(plan, seconds=60.0, mailboxes=1.0, letters_per_hour=2, odds=odds)


def in_a_crowd(plan: Plan, **pauses: float) -> Plan:
    """The same with many orders at a time, which wait for a broker and then go together."""
    return replace(
        plan,
        orders=24,
        seconds=4.0,
        outbox_limit=100,
        is_durable=True,
        events_per_message=64,
        prefetch=12,
        is_swept=False,
        repaired_at=None,
        letters_per_hour=100,
        unknown_mailboxes=0.0,
        pauses={"broker": 1.0, **pauses},
    )


def with_moves(plan: Plan, **pauses: float) -> Plan:
    """The same with orders that are moved and cancelled all the time, over a messenger that is slow."""
    odds = replace(plan.odds, slow=0.6, copied=0.6)
    return replace(plan, seconds=12.0, odds=odds, pauses={**plan.pauses, "move": 0.15, **pauses})


def with_payments(plan: Plan, **pauses: float) -> Plan:
    """The same with orders that all cost something, a provider that fails often, and moves all the time."""
    return replace(
        plan,
        orders=8,
        seconds=5.0,
        repaired_at=None,
        stock=dict.fromkeys(plan.stock, 40),
        products=dict.fromkeys((*plan.products, *plan.stock), (700, "EUR")),
        processors=2,
        is_durable=True,
        letters_per_hour=100,
        odds=Odds(slow=0.6),
        pauses={"move": 0.05, **pauses},
        payments=0.9,
    )


def counted(plan: Plan) -> Plan:
    """The same with two consumers that count all events by an inbox, whose answers are lost and who die."""
    odds = replace(plan.odds, copied=0.5, store_late=0.3)
    return replace(plan, counters=2, odds=odds, pauses={**plan.pauses, "crash": 0.5})


CLIMATES: Final[Mapping[str, Callable[[Plan], Plan]]] = {
    "a script does not look at its rights": lambda plan: replace(
        plan, pauses={**plan.pauses, "store_refuses": 0.5}
    ),
    "a dead order begins to retry": lambda plan: replace(
        plan, broken_skus=0.5, odds=replace(plan.odds, store_late=0.4, handler_fails=0.5)
    ),
    "a group is marked before the log is flushed": lambda plan: replace(
        plan,
        unknown_mailboxes=0.0,
        mailboxes=0.0,
        odds=replace(plan.odds, slow=0.8),
        pauses={**plan.pauses, "crash": 0.3},
    ),
    "a group is as large as a batch": lambda plan: replace(in_a_crowd(plan), mailboxes=0.0, batch_limit=12),
    "anybody's release frees the claim": lambda plan: replace(
        plan,
        unknown_mailboxes=0.0,
        mailboxes=1.0,
        notifiers=2,
        sends_at_once=3,
        odds=Odds(send_slow=0.8, copied=1.0, send_refused=0.6, store_late=0.4),
        pauses={},
    ),
    "an unknown answer counts as a refusal": rarely_answered,
    "an unconfirmed letter may be followed by any number": rarely_answered,
    "the second letter is not noted before it goes": lambda plan: rarely_answered(
        plan, pauses={"crash": 1.0}
    ),
    "a script is loaded before it is run": lambda plan: replace(
        plan, odds=replace(plan.odds, slow=0.5), pauses={**plan.pauses, "store_away": 0.3}
    ),
    "a late claim reopens what failed": lambda plan: replace(
        plan,
        schedules=False,
        unknown_mailboxes=0.7,
        notifiers=2,
        odds=replace(plan.odds, store_late=0.4, copied=0.5),
        pauses={**plan.pauses, "crash": 1.0},
    ),
    "a letter goes though it was not sent back": lambda plan: with_operator(plan, publish_cut=0.5),
    "a redrive overwrites what came of it": lambda plan: replace(
        with_operator(plan, slow=0.5), repaired_at=None
    ),
    "a drop decides again": lambda plan: with_operator(plan, copied=1.0),
    "a drop is not announced": with_operator,
    "a batch is acked with its first event": lambda plan: in_a_crowd(replace(plan, batch_limit=1), crash=0.3),
    **dict.fromkeys(
        (
            "stock is given back twice",
            "stock is never given back",
            "a move that the table does not have",
            "a move without an announcement",
            "created though it was cancelled",
            "an earlier step is told after a later one",
        ),
        with_moves,
    ),
    "a move counts as announced before the confirm": lambda plan: with_moves(plan, broker=1.0, crash=0.5),
    "a cancelled order begins to retry": lambda plan: with_moves(replace(plan, broken_skus=0.5)),
    "the sweep forgets the sums": lambda plan: replace(with_moves(plan), is_swept=True),
    **dict.fromkeys(
        (
            "a charge has another key each time",
            "an unknown payment counts as declined",
            "a payment that is under way is not voided",
            "a declined payment cancels nothing",
            "an order is prepared before it is paid for",
            "a cancellation forgets the payment",
            "a created order waits for no payment",
            "a payment is settled although its order moved on",
        ),
        with_payments,
    ),
    "a late answer overwrites what came after it": lambda plan: with_payments(plan, stall=0.5),
    "a scheduled order begins without a message": lambda plan: replace(
        plan,
        schedules=True,
        is_durable=True,
        orders=8,
        odds=Odds(publish_cut=0.9),
        pauses={"broker": 1.0, "crash": 0.5},
    ),
    **dict.fromkeys(
        (
            "the feed is looked at after the log",
            "what was read from the log is told again",
        ),
        lambda plan: replace(with_moves(plan), dashboards=2, is_watched=True),
    ),
    **dict.fromkeys(("an inbox forgets its events", "an inbox notes before it writes"), counted),
    "a split batch loses an event": lambda plan: in_a_crowd(plan, crash=0.2, connection=0.2),
    "a dead batch is dropped unread": lambda plan: replace(
        with_operator(in_a_crowd(plan, given_up=0.2), slow=0.5), prefetch=1, seconds=20.0
    ),
}
"""By the name of the bug."""
