"""The ledger of a load run: which orders were attempted, and which of them the gateway acknowledged.

One JSON object per line. `attempted` is written before the request leaves, so that an order whose answer
never came is known too; `acknowledged` after its 202, with the time in seconds since the epoch; `refused`
when the gateway's last word was another one. Currency and total are there where the answer had them.

    {"event": "attempted", "id": "load-1c9f-0", "items": [{"sku": "cable", "qty": 1}]}
    {"event": "acknowledged", "id": "load-1c9f-0", "at": 1750000000.123, "currency": "EUR", "amount_total": 5}
    {"event": "refused", "id": "load-1c9f-1", "status": 503}
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import orjson

from orderctl.errors import OrderctlError
from shared.messages import OrderItem
from shared.prices import Cost

_COSTS: Final = ("currency", "amount_total")


class LedgerEvent(StrEnum):
    """What became of an order, as far as its client knows."""

    ATTEMPTED = "attempted"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One line. Items are there where the event is `attempted`, the status where it is `refused`.

    `at` is when it was acknowledged, in seconds since the epoch; ledgers of before have none.
    """

    event: LedgerEvent
    order_id: str
    items: tuple[OrderItem, ...] = ()
    status: int | None = None
    at: float | None = None
    cost: Cost = field(default_factory=Cost)


class LedgerWriter(AbstractContextManager["LedgerWriter"]):
    """Appends to a ledger file; several runs may share one."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = path.open("ab")

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def attempted(self, order_id: str, items: Sequence[OrderItem]) -> None:
        """The order is about to be placed; written before its request leaves this process."""
        listed = [{"sku": item.sku, "qty": item.qty} for item in items]
        self._append({"event": LedgerEvent.ATTEMPTED, "id": order_id, "items": listed})

    def acknowledged(self, order_id: str, answer: Mapping[str, Any] | None = None) -> None:
        """The gateway answered that the order exists, and with these members."""
        costs = {name: value for name, value in (answer or {}).items() if name in _COSTS}
        at = round(time.time(), 3)
        self._append({"event": LedgerEvent.ACKNOWLEDGED, "id": order_id, "at": at, **costs})

    def refused(self, order_id: str, status: int | None) -> None:
        """The gateway's last word was another status, or None where it had no word."""
        self._append({"event": LedgerEvent.REFUSED, "id": order_id, "status": status})

    def _append(self, entry: dict[str, Any]) -> None:
        self._stream.write(orjson.dumps(entry) + b"\n")
        self._stream.flush()


def read_ledger(path: Path) -> Iterator[LedgerEntry]:
    """Every entry in its order, one at a time; raises OrderctlError at a line that is none.

    A last line without its end, as a killed run leaves it, is passed over.
    """
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if line.endswith(b"\n"):
                yield _entry(path, number, line)


def _entry(path: Path, number: int, line: bytes) -> LedgerEntry:
    try:
        content = orjson.loads(line)
        return LedgerEntry(
            event=LedgerEvent(content["event"]),
            order_id=content["id"],
            items=tuple(OrderItem(sku=item["sku"], qty=item["qty"]) for item in content.get("items", ())),
            status=content.get("status"),
            at=content.get("at"),
            cost=Cost(**{name: content[name] for name in _COSTS if name in content}),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise OrderctlError(f"{path}, line {number}: not a ledger entry") from error
