"""The table of commands: what each is called, where it is, what it does, and an example of each group.

A command's module is imported when it is called, and not to be listed: each starts fast. What is said of a
command here is the first sentence of its own help.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandGroup:
    """Commands for one purpose: each with its place in `orderctl.commands`, and with what it does."""

    commands: Mapping[str, tuple[str, str]]
    examples: tuple[str, ...]


GROUPS: Final[Mapping[str, CommandGroup]] = {
    "Run": CommandGroup(
        commands={
            "up": ("lifecycle.up", "Start whatever is missing, and return when the pipeline takes orders."),
            "down": ("lifecycle.down", "Stop everything that was started here, and nothing else."),
            "sample": ("sample.sample", "Make four users, ten products and eight orders to look at."),
            "user": ("users.app", "Users, and what they may do."),
            "keys": ("users.keys", "The keys that sign access tokens."),
            "new": ("new.app", "Begin something new in this checkout."),
            "completion": ("completion.completion", "Print what makes a shell complete commands and parts."),
        },
        examples=("orderctl up --mode embedded", "orderctl user add olga --role operator"),
    ),
    "Break": CommandGroup(
        commands={
            "kill": ("parts.kill", "End one part as a crash would."),
            "stop": ("parts.stop", "End one part gracefully; it stays down until `start` or `up`."),
            "start": (
                "parts.start",
                "Start one part; returns once its process runs, and says what it waits for.",
            ),
            "failpoints": (
                "failpoints.failpoints",
                "List the crash points that are built into the services, and how to arm one.",
            ),
        },
        examples=("orderctl kill rabbitmq2", "orderctl start rabbitmq2"),
    ),
    "Orders": CommandGroup(
        commands={
            "order": ("orders.app", "Place, show, move and list orders."),
            "product": ("products.app", "Set and see products and prices."),
            "inventory": ("inventory.app", "Set and see the stock."),
            "dead": ("dead.app", "Look into dead letters, send them back, or drop them."),
            "replay": ("replay.replay", "Tell one consumer again what happened to orders."),
        },
        examples=(
            "orderctl inventory set mag-safe-phone-case 100",
            "orderctl order place --sku mag-safe-phone-case --qty 2",
            "orderctl dead redrive --all --dry-run",
        ),
    ),
    "Look": CommandGroup(
        commands={
            "status": (
                "views.status",
                "Show every part: where it is, its process, and whether it can do its work.",
            ),
            "doctor": (
                "views.doctor",
                "Look for what keeps the pipeline from working, or could, and say what helps.",
            ),
            "logs": ("views.logs", "Show the latest of all logs, merged by time, or of one part's."),
            "events": (
                "events.events",
                "Follow every step of every order, and what goes wrong and right again.",
            ),
            "ledger": ("ledger.app", "Every order and its steps, in SQL."),
            "redis": ("redis.redis", "Run redis-cli against the store of this system."),
        },
        examples=("orderctl logs --order order123", "orderctl logs -f --level warning"),
    ),
    "Prove": CommandGroup(
        commands={
            "load": ("load.load", "Place orders with bounded concurrency, and see what became of them."),
            "verify": (
                "verify.verify",
                "Reconcile every order with everything that speaks of it, while orders flow.",
            ),
            "demo": (
                "demo.demo",
                "Kill the broker that leads a queue under load, and prove that nothing was lost.",
            ),
        },
        examples=("orderctl load --orders 5000 --stock 5000", "orderctl verify"),
    ),
}
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    name: command for group in GROUPS.values() for name, command in group.commands.items()
}
