"""Every Redis key, who writes it, and how long it lives. Who may is in ``shared/redis/rights.py``.

===========================  =======  ======================================  =========================
key                          type     writers                                 lives
===========================  =======  ======================================  =========================
``idemp:{order id}``         string   accept.lua                              claim TTL
``idempkey:{whose}:{key}``   hash     accept.lua                              as long as its order
``order:{order id}``         hash     shared/orders/redis                     retention after its decision
``orders:{status}``          zset     shared/orders/redis                     as long as its orders
``orders:customer:{id}``     zset     accept.lua, sweep.lua, erase.lua        as long as its orders
``orders:{trouble}``         zset     shared/orders/redis                     until its orders are decided
``orders.erased``            zset     erase.lua, dashboard (removal)          until their letters are gone
``product:{sku}``            hash     catalogue, the operator                 for ever
``decision:{order id}``      string   decide.lua                              while a decision is written
``move:{order id}``          string   move.lua                                while stock is given back
``outbox``                   zset     accept.lua, gateway (removal), relay    until confirmed
``outbox:lease``             string   relay                                   lease
``moves:lease``              string   gateway                                 lease
``moves``                    zset     move.lua, relay (removal)               until announced
``stock.releases``           string   move.lua                                for ever
``inventory:{sku}``          string   decide.lua, stock scripts, the operator  for ever
``stock.skus``               set      decide.lua, stock scripts              for ever
``stock.index``              zset     stock.lua                               for ever
``stock.changed``            set      decide.lua, stock.lua, stock_taken.lua  until it is taken to be told
``stock.telling``            hash     catalogue's stock scripts               until it was told
``stock.reserved``           hash     decide.lua                              for ever
``stock.supplied``           hash     stock scripts                           for ever
``orders.processed.count``   string   decide.lua                              for ever
``notifications:{order id}``  hash     notifier's scripts                      as long as its order
``notifications.counts``     hash     notifier's scripts                      for ever
``notifications.untold``     zset     decide.lua, conclude.lua, told.lua      until their customers are told
``notif:{event id}``         string   notifier's scripts, erase.lua           lease, then retention
``letters:{hash}``           zset     letters.lua                             an hour after the last letter
``collected:{hash}``         hash     notifier                                two hours after the last change
``orders.archive``           hash     sweep.lua                               for ever
``orders:kept``              zset     order_processor: how long orders are    for ever
``payments:due``             zset     decide.lua, move.lua, pay.lua           until nothing is left to do
``payments:lease``           string   order_processor                         lease
``provider:{order id}``      hash     the simulated payment provider          as long as its order
``orders:due``               zset     accept.lua: orders by when they begin   until then
``orders:due:{customer}``    set      accept.lua: a customer's among them     until then
``orders:log``               stream   shared/orders/redis, conclude.lua       until its readers have passed
``ledger:position``          string   ledger                                  for ever
``webhooks:position``        string   webhooks                                for ever
``sweep:lease``              string   order_processor                         lease
``dead:audit``               stream   dashboard                               the last 10,000
``dead:lease``               string   dashboard                               lease
``catalogue:lease``          string   catalogue                               lease
``accounts:lease``           string   accounts                                lease
``declined:{channel}``       zset     gateway's prefer.lua, accounts (removal)  while they decline it
``webhooks:gone``            set      accounts, webhooks (removal)            until their webhooks are removed
``stock:lease``              string   catalogue                               lease
``ledger:lease``             string   ledger                                  lease
``webhooks:lease``           string   webhooks                                lease
``pipeline:topology``        string   gateway                                 for ever
``store:watch``              string   every service, to see that it can write  a minute
===========================  =======  ======================================  =========================

``orders:{status}`` indexes order ids by the time of acceptance in microseconds since the epoch; every
order is in exactly one of them, so their sizes are the counts by status. ``orders:{trouble}`` names some of
the accepted ones once more. A field ``decision:{order id}`` in ``stock.reserved`` says that the pieces of a
decision which is being written are counted already; one is left behind only where a script was cut.
"""

from enum import StrEnum
from typing import Final

from shared.orders.model import OrderStatus, Trouble


class NotificationStatus(StrEnum):
    """Where the latest event's notification stands. ``failed`` means dead-lettered, ``declined`` that its
    customer wants no mail."""

    SENDING = "sending"
    SENT = "sent"
    FAILED = "failed"
    DECLINED = "declined"


class Channel(StrEnum):
    """What customers may decline to be told of their orders by."""

    MAIL = "mail"
    WEBHOOK = "webhook"


OUTBOX: Final = "outbox"
OUTBOX_LEASE: Final = "outbox:lease"
MOVES: Final = "moves"
"""Moves that are yet to be announced, as ``{order id}:{status}``, by when they were made, in microseconds."""
MOVES_LEASE: Final = "moves:lease"
RELEASES: Final = "stock.releases"
"""How many orders have given their stock back."""
PROCESSED_COUNT: Final = "orders.processed.count"
LOG: Final = "orders:log"
"""Every step of every order, in the order in which they happened."""
DUE: Final = "orders:due"
PAYMENTS_DUE: Final = "payments:due"
"""Orders about whose payment something is to be done, by when, in microseconds."""
PAYMENTS_LEASE: Final = "payments:lease"
LEDGER_POSITION: Final = "ledger:position"
WEBHOOKS_POSITION: Final = "webhooks:position"
FOLLOWED: Final = {"ledger": LEDGER_POSITION, "webhooks": WEBHOOKS_POSITION}
"""The entry of the log up to which each service has read that follows it; without one, it never has."""
ARCHIVE: Final = "orders.archive"
"""What remains of swept orders: their number by status, and pieces reserved by ``sku:{sku}``."""
KEPT: Final = "orders:kept"
"""How long ended orders are kept, in seconds, and when the newest of those that were removed had ended, in
microseconds."""
KEPT_SECONDS: Final = "seconds"
REMOVED_UNTIL: Final = "removed_until"
ERASED: Final = "orders.erased"
"""Orders whose customer is gone, with their content, by when they were erased: for their dead letters."""
WEBHOOKS_GONE: Final = "webhooks:gone"
"""Customers who are gone, and who may have webhooks."""
SWEEP_LEASE: Final = "sweep:lease"
DEAD_LETTERS_AUDIT: Final = "dead:audit"
DEAD_LETTERS_LEASE: Final = "dead:lease"
"""Whoever holds it looks at the dead letters; two at a time would each see a part of them."""
SKUS: Final = "stock.skus"
SKU_INDEX: Final = "stock.index"
"""Every SKU that came in through the API, sorted; those that were set by hand are not in it."""
STOCK_CHANGED: Final = "stock.changed"
"""SKUs whose stock has changed since it was taken to be told."""
STOCK_TELLING: Final = "stock.telling"
"""What is being told of SKUs: when it was taken, in microseconds, and the stock at that instant."""
RESERVED: Final = "stock.reserved"
SUPPLIED: Final = "stock.supplied"
NOTIFICATION_COUNTS: Final = "notifications.counts"
"""Per status, how many orders' latest notification has it."""
UNTOLD: Final = "notifications.untold"
"""Ids of the events of decisions whose customer is yet to be told, by when they were made, in microseconds.

Those that are collected until their address may have another letter stand there by an hour later; those that
were given up do not.
"""
TOPOLOGY_DECLARED: Final = "pipeline:topology"
STORE_WATCH: Final = "store:watch"
INVENTORY_PATTERN: Final = "inventory:*"
OWN_KINDS: Final = {
    "order:": "hash",
    "decision:": "string",
    "move:": "string",
    "notifications:": "hash",
    "idempkey:": "hash",
    "idemp:": "string",
    "notif:": "string",
    "letters:": "zset",
    "collected:": "hash",
    "provider:": "hash",
    "inventory:": "string",
    "product:": "hash",
}
"""The keys that belong to one order or SKU, by prefix, with their types: one that is broken is no outage."""
NUMBERS: Final = ("attempts", "accepted_at", "decided_at")
"""Fields of such hashes that scripts count with."""


def kind_of_own(key: str) -> str | None:
    """The type of a key that belongs to one order or SKU; None for those that all share."""
    return next((kind for prefix, kind in OWN_KINDS.items() if key.startswith(prefix)), None)


def claim(order_id: str) -> str:
    """The gateway's claim of an order id."""
    return f"idemp:{order_id}"


def idempotency_key(key: str, customer: str | None) -> str:
    """The order behind an ``Idempotency-Key``. Each customer has keys of its own."""
    return f"idempkey:{customer or '-'}:{key}"


def older_idempotency_key(key: str) -> str:
    """The same as it was called before customers had keys of their own: orders of then still have it."""
    return f"idempkey:{key}"


def declined(channel: Channel) -> str:
    """Customers who are not to be told by this channel, by since when, in microseconds."""
    return f"declined:{channel.value}"


def order(order_id: str) -> str:
    """The record of an order."""
    return f"order:{order_id}"


def orders_in(index: OrderStatus | Trouble) -> str:
    """The index of orders in one status, or of the undecided ones in one trouble."""
    return f"orders:{index.value}"


def due_of(customer: str) -> str:
    """A customer's scheduled orders."""
    return f"{DUE}:{customer}"


def orders_of(customer: str) -> str:
    """The index of the orders of one customer."""
    return f"orders:customer:{customer}"


def service_lease(of: str) -> str:
    """The replica that holds it does what one at a time may: it empties an outbox, for one."""
    return f"{of}:lease"


def decision(order_id: str) -> str:
    """A decision that is being written."""
    return f"decision:{order_id}"


def provider(order_id: str) -> str:
    """What the simulated payment provider remembers under an order's id."""
    return f"provider:{order_id}"


def move(order_id: str) -> str:
    """A move that gives stock back and is being written."""
    return f"move:{order_id}"


def inventory(sku: str) -> str:
    """Pieces of a SKU that are available now."""
    return f"inventory:{sku}"


def product(sku: str) -> str:
    """What a SKU costs and is called: orders are priced from it."""
    return f"product:{sku}"


def sku_of(inventory_key: str) -> str:
    """The inverse of :func:`inventory`."""
    return inventory_key.removeprefix("inventory:")


def notifications(order_id: str) -> str:
    """The state of an order's latest notification."""
    return f"notifications:{order_id}"


def letters(address_hash: str) -> str:
    """The letters of the last hour to one address."""
    return f"letters:{address_hash}"


def collected(address_hash: str) -> str:
    """The events that wait for the next letter to one address, by id; their messages wait in a retry tier."""
    return f"collected:{address_hash}"


def notification_claim(event_id: str) -> str:
    """The notifier's claim of one event."""
    return f"notif:{event_id}"
