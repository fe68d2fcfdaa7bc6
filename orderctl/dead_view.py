"""Dead letters, and what became of them, as text for people."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from orderctl.terminal import age, err, listing, out, say, shown

LISTED_RESULTS: Final = 20
"""Up to so many letters are named one by one when all went well."""
_COLOURS: Final = {"redriven": "green", "dropped": "yellow", "failed": "red"}


def show_results(summary: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> None:
    """What an action came to: each letter while they are few, every one that failed, and the sum."""
    names_all = summary["dry_run"] or len(results) <= LISTED_RESULTS
    for each in results if names_all else [each for each in results if each["outcome"] == "failed"]:
        outcome = "would be" if each["outcome"] == "untouched" else each["outcome"]
        style = _COLOURS.get(each["outcome"], "dim")
        detail = f"  {each['detail']}" if each["detail"] else ""
        line = shown(f" {each['id']}  {each['reason']}{detail}")
        out.print(Text.assemble((f"{outcome:<9}", style), line))
    for missing in summary["not_found"]:
        say(f"no such dead letter (any more): {missing}", "yellow")
    if summary["dry_run"]:
        out.print(f"{amount(summary['matched'])}; nothing was done")
    else:
        done = {"redrive": "redriven", "drop": "dropped"}[summary["action"]]
        out.print(f"{done} {summary['done']} of {amount(summary['matched'])}")
    if summary["fault"]:
        err.print(Text.assemble(("stopped: ", "bold red"), shown(summary["fault"])))
        err.print(Text("next: ask again; what was done is not done twice"))
    else:
        warn_if_incomplete(summary)


def warn_if_incomplete(answer: Mapping[str, Any]) -> None:
    """Says so where letters lie too deep to be seen."""
    if not answer["complete"]:
        hint = "not all letters could be seen: the rest lies behind those (see orderctl dead list)"
        say(hint, "yellow")


def overview(letters: Sequence[Mapping[str, Any]]) -> Table:
    """One line per letter."""
    table = listing("id", "reason", "attempts", "died", "redriven", "last error")
    table.columns[0].min_width = max(len(letter["id"]) for letter in letters)
    table.columns[2].justify = "right"
    for letter in letters:
        table.add_row(
            Text(letter["id"]),
            Text(letter["reason"], style="red"),
            str(letter["attempts"]),
            age(letter["age_seconds"]),
            f"{letter['redriven']}×" if letter["redriven"] else "",
            Text(letter["last_error"][:120]),
        )
    return table


def trail(entries: Sequence[Mapping[str, Any]]) -> Table:
    """One line per letter that was dealt with."""
    table = listing("when", "outcome", "id", "had died of", "by", "detail")
    table.columns[2].min_width = max(len(each["letter_id"]) for each in entries)
    for each in entries:
        table.add_row(
            each["at"],
            Text(each["outcome"], style=_COLOURS.get(each["outcome"], "")),
            *(shown(each[name]) for name in ("letter_id", "reason", "by", "detail")),
        )
    return table


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def in_full(letter: Mapping[str, Any]) -> RenderableType:
    """Everything that is known of a letter, its body last."""
    from rich.json import JSON

    table = Table.grid(padding=(0, 2))
    for name, value in letter.items():
        if name != "body" and value not in (None, "", []):
            table.add_row(Text(name.replace("_", " "), style="dim"), Text(_text(value)))
    return Group(table, JSON.from_data(letter["body"])) if "body" in letter else table


def amount(letters: int) -> str:
    """`1 letter`, `2 letters`."""
    return f"{letters:,} letter" if letters == 1 else f"{letters:,} letters"
