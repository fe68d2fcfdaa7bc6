"""The verdict in words for people, and as JSON for scripts."""

from collections.abc import Iterator
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orderctl.oracle import FAULTS, REMARKS, Verdict
from orderctl.terminal import shown
from orderctl.verification.verification import Reconciliation
from shared.currencies import written
from shared.orders.model import OrderStatus

MOST_NAMED: Final = 20
_TITLES: Final = {
    "lost": ("lost", "acknowledged or decided, and gone"),
    "duplicated": ("doubled", "an effect that was had twice"),
    "oversold": ("oversold", "more promised than there was"),
    "unexpected": ("unexpected", "contradicts itself"),
    "stuck": ("stuck", "not decided or not paid for, and nothing moved for 30 s"),
    "unannounced": ("unannounced", "decided, and the customer was not told"),
    "mispriced": ("mispriced", "its total, its lines and what the client was told do not agree"),
    "mischarged": ("mischarged", "what the payment provider took is not what the order says"),
    "unrecorded": (
        "unrecorded",
        "SQL has not what the record says, webhooks is behind, or one lacks a number",
    ),
    "dead": ("dead orders", "wait in the dead-letter queue for an operator"),
    "undelivered": ("dead notifications", "wait in the dead-letter queue for an operator"),
    "unconfirmed": ("unconfirmed letters", "went out, and their receiver has not said what became of them"),
    "collected": ("collected letters", "wait until their address may have another letter"),
    "repeated": ("repeated", "told again after a death of the notifier, as G5 lets it"),
    "changed_by_hand": ("stock by hand", "available + reserved differs from what was supplied"),
}


def as_json(outcome: Reconciliation) -> dict[str, Any]:
    """Everything: each kind with all of its offenders, and why; times in seconds."""
    verdict, stock = outcome.verdict, outcome.snapshot.stock
    return {
        "passed": verdict.passed,
        "seconds": round(outcome.seconds, 3),
        "orders": verdict.orders,
        OrderStatus.CREATED.value: verdict.created,
        OrderStatus.REJECTED.value: verdict.rejected,
        OrderStatus.CANCELLED.value: verdict.cancelled,
        OrderStatus.SCHEDULED.value: verdict.scheduled,
        "told": verdict.told,
        "declined": verdict.declined,
        "in_sql": verdict.in_sql,
        "paid": verdict.paid,
        "decisions": stock.decided,
        "archived": stock.archived_orders,
        "reserved": dict(stock.reserved),
        "amounts": dict(verdict.amounts),
        "acknowledged": len(outcome.promises.acknowledged),
        "acknowledged_before_retention": outcome.promises.expired,
        "republished": list(outcome.republished),
        "healed": outcome.healed,
        **{kind: verdict.of_kind(kind) for kind in (*FAULTS, *REMARKS)},
        "why": verdict.why,
    }


def render(outcome: Reconciliation) -> RenderableType:
    """The verdict first, then what it rests on, then what was found, each with its first offenders."""
    hints = [line for hint in _hints(outcome) for line in (Text(), shown(hint, "dim"))]
    return Group(headline(outcome), Text(), _grounds(outcome), Text(), _findings(outcome.verdict), *hints)


def headline(outcome: Reconciliation) -> Text:
    """The verdict in one line."""
    verdict = outcome.verdict
    took = (f"  ({outcome.seconds:.1f} s)", "dim")
    if verdict.passed:
        kept = "nothing lost, nothing doubled, nothing oversold, nothing stuck"
        return Text.assemble(("PASS", "bold green"), f"  {kept}", took)
    counted = (f"{len(found):,} {_TITLES[kind][0]}" for kind, found in verdict.faults().items())
    return Text.assemble(("FAIL", "bold red"), f"  {', '.join(counted)}", took)


def _grounds(outcome: Reconciliation) -> Table:
    verdict, stock = outcome.verdict, outcome.snapshot.stock
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(justify="right")
    table.add_column(style="dim")
    table.add_row("orders", f"{verdict.orders:,}", _how_they_stand(verdict))
    archived = f", {stock.archived_orders:,} of them archived" if stock.archived_orders else ""
    table.add_row("decisions", f"{stock.decided:,}", f"counted at the cut{archived}")
    skus = len({*stock.reserved, *stock.available})
    table.add_row("reserved", f"{sum(stock.reserved.values()):,}", f"pieces of {skus:,} SKUs")
    table.add_row("told", f"{verdict.told:,}", "customers who know how it ended")
    if verdict.declined:
        table.add_row("declined", f"{verdict.declined:,}", "customers who want no mail, and were sent none")
    if verdict.in_sql:
        table.add_row("in SQL", f"{verdict.in_sql:,}", "orders compared with the ledger's rows, step by step")
    if verdict.paid:
        table.add_row(
            "paid", f"{verdict.paid:,}", "orders whose payment is authorised, as the provider has it"
        )
    for currency, amount in sorted(verdict.amounts.items()):
        table.add_row(
            "amount",
            written(amount, currency),
            "of created orders that are not cancelled, as lines times pieces",
        )
    if outcome.promises.acknowledged or outcome.promises.expired:
        expired = (
            f", {outcome.promises.expired:,} older than the retention" if outcome.promises.expired else ""
        )
        table.add_row("ledger", f"{len(outcome.promises.acknowledged):,}", f"acknowledged{expired}")
    if outcome.republished:
        table.add_row("republished", f"{len(outcome.republished):,}", f"{outcome.healed:,} settled since")
    return table


def _how_they_stand(verdict: Verdict) -> str:
    """What adds up first; who is cancelled or scheduled was counted there already."""
    without = verdict.orders - verdict.created - verdict.rejected
    counted = f"{verdict.created:,} created, {verdict.rejected:,} rejected, {without:,} without a decision"
    also = {OrderStatus.CANCELLED: verdict.cancelled, OrderStatus.SCHEDULED: verdict.scheduled}
    among = " and ".join(f"{count:,} {name}" for name, count in also.items() if count)
    return f"{counted}; among all of these {among}" if among else counted


def _hints(outcome: Reconciliation) -> Iterator[str]:
    verdict = outcome.verdict
    if (verdict.stuck or verdict.unannounced) and not outcome.republished:
        yield "if no queue holds them any more, give them to the relay again: orderctl verify --republish"
    if verdict.dead or verdict.undelivered:
        yield "look into dead letters with: orderctl dead list"


def _findings(verdict: Verdict) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    for kind in FAULTS:
        _add(table, verdict, kind, "red")
    for kind in REMARKS:
        if verdict.of_kind(kind):
            _add(table, verdict, kind, "yellow")
    return table


def _add(table: Table, verdict: Verdict, kind: str, style: str) -> None:
    title, meaning = _TITLES[kind]
    found = verdict.of_kind(kind)
    if not found:
        table.add_row(title, Text("0", style="green"), "")
        return
    table.add_row(
        Text(title, style=style), Text(f"{len(found):,}", style=f"bold {style}"), Text(meaning, style="dim")
    )
    for offender in found[:MOST_NAMED]:
        table.add_row("", "", Text.assemble(offender, (f"  {verdict.why.get(offender, '')}", "dim")))
    if len(found) > MOST_NAMED:
        table.add_row(
            "", "", Text(f"and {len(found) - MOST_NAMED:,} more; all of them with --json", style="dim")
        )
