"""What each service may do in the store and in the cache: the one table of Redis' access rules.

A service logs in under its own name. It may run the commands in ``USUAL`` on the keys in its row, which it
needs, and on ``NAME:*``, which a new consumer without a row has to itself. Redis asks for both rights to
every key that a script names: what a script only looks at, as at products, stands among the written.
Names of keys are seen by who may ``SCAN``; what lies under them is not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from shared import keyspace
from shared.services import CACHE, SERVICES, STORE

OPERATOR: Final = "operator"
"""Who may do everything: the operator's commands. No service logs in so."""
USUAL: Final = (
    *("+@read", "+@write", "+@connection", "+@transaction", "-@scripting", "-@admin", "-@dangerous"),
    *("+eval", "+evalsha", "+time"),
)
EVERYTHING: Final = ("~*", "&*", "+@all")
DEFAULT_USER: Final = ("default", "off", *EVERYTHING)
"""No client can log in as it. Redis 7.0 is it while it reads its file: without rights it would pass over all
transactions there, and what scripts write are transactions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Patterns of keys that may be written and read, and of those that may be read; further commands."""

    writes: Sequence[str] = ()
    reads: Sequence[str] = ()
    commands: Sequence[str] = ()

    def rules(self) -> tuple[str, ...]:
        """As ``ACL SETUSER`` and a file of users have them."""
        keys = (*(f"~{each}" for each in self.writes), *(f"%R~{each}" for each in self.reads))
        return (*keys, *USUAL, *(f"+{each}" for each in self.commands))

    def questions(self) -> Iterator[tuple[str, Sequence[str | int]]]:
        """Each right to keys, in words, with a command that needs it: scripts need both rights."""
        for pattern in self.writes:
            yield f"write {pattern}", ("EVALSHA", "", 1, pattern)
        for pattern in self.reads:
            yield f"read {pattern}", ("GET", pattern)


_ORDERS: Final = ("order:*", "orders:*")
_DECLINED: Final = tuple(map(keyspace.declined, keyspace.Channel))
_CLAIMS: Final = ("idemp:*", "idempkey:*")
_DECIDED: Final = (
    *(*_ORDERS, "decision:*", keyspace.INVENTORY_PATTERN, keyspace.RESERVED, keyspace.SKUS),
    *(keyspace.PROCESSED_COUNT, keyspace.UNTOLD, keyspace.STOCK_CHANGED, keyspace.PAYMENTS_DUE),
)
"""What a decision writes: the processor's, and the dashboard's where an order is given up."""
_ROWS: Final[Mapping[str, Mapping[str, Rights]]] = {
    STORE: {
        "api_gateway": Rights(
            writes=(
                *(*_ORDERS, *_CLAIMS, keyspace.OUTBOX, keyspace.OUTBOX_LEASE, "product:*"),
                *("move:*", "decision:*", keyspace.MOVES, keyspace.MOVES_LEASE, keyspace.UNTOLD),
                *(keyspace.PAYMENTS_DUE, *_DECLINED),
                *(keyspace.INVENTORY_PATTERN, "stock.*", keyspace.ARCHIVE, keyspace.TOPOLOGY_DECLARED),
            ),
            reads=("notifications:*",),
            commands=("info", "config|get", "client|list"),
        ),
        "order_processor": Rights(
            writes=(
                *(*_DECIDED, *_CLAIMS, keyspace.ARCHIVE, keyspace.SWEEP_LEASE),
                *("notifications:*", "notif:*", "move:*", keyspace.MOVES, keyspace.OUTBOX),
                *(keyspace.RELEASES, keyspace.PAYMENTS_LEASE, "provider:*"),
            ),
            reads=tuple(keyspace.FOLLOWED.values()),
            commands=("info",),
        ),
        "notifier": Rights(
            writes=(
                *("notifications*", "notif:*", "letters:*", "collected:*", "order:*", keyspace.LOG),
                keyspace.declined(keyspace.Channel.MAIL),
            )
        ),
        "accounts": Rights(
            writes=(
                *("order:*", "orders:customer:*", "notifications:*", "notif:*"),
                *(keyspace.UNTOLD, keyspace.ERASED, keyspace.service_lease("accounts")),
                *(keyspace.WEBHOOKS_GONE, *_DECLINED),
            )
        ),
        "catalogue": Rights(
            writes=(
                *("product:*", keyspace.INVENTORY_PATTERN, keyspace.STOCK_CHANGED, keyspace.STOCK_TELLING),
                *(keyspace.service_lease("catalogue"), keyspace.service_lease("stock")),
            )
        ),
        "ledger": Rights(reads=_ORDERS),
        "webhooks": Rights(reads=(*_ORDERS, keyspace.declined(keyspace.Channel.WEBHOOK))),
        "dashboard": Rights(
            writes=(
                *(*_DECIDED, keyspace.ERASED, keyspace.DEAD_LETTERS_LEASE, keyspace.DEAD_LETTERS_AUDIT),
                *("move:*", keyspace.MOVES, keyspace.OUTBOX, keyspace.RELEASES),
            ),
            reads=("notifications*", "product:*", keyspace.SKU_INDEX, *keyspace.FOLLOWED.values()),
            commands=("info",),
        ),
    },
    CACHE: {
        "catalogue": Rights(writes=("answer:*", "reading:*", "generation:*")),
        "dashboard": Rights(),
    },
}


def rights_of(service: str, store: str = STORE) -> Rights:
    """What the service needs in the store, or in the cache."""
    row = _ROWS[store].get(service, Rights())
    return replace(row, writes=(*row.writes, keyspace.STORE_WATCH))


def users_of(store: str) -> Mapping[str, Sequence[str]]:
    """Each login there, with its rules."""
    names = [name for name in SERVICES if store == STORE or name in _ROWS[store]]
    return {OPERATOR: EVERYTHING, **{name: rules_of(name, store) for name in names}}


def rules_of(service: str, store: str = STORE) -> Sequence[str]:
    """What the service may do there."""
    return (f"~{service}:*", *rights_of(service, store).rules())
