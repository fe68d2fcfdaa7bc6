"""The files of a new consumer, its row in the map, and its lines wherever services are deployed."""

import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Final

from orderctl.errors import OrderctlError
from orderctl.scaffold_deployment import deployed
from shared.pipeline import EVENTS_EXCHANGE, Consumption
from shared.services import SERVICES

MAP: Final = Path("shared/pipeline.py")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{2,29}")
_BEHIND_THE_ROWS: Final = ")\n\nRETIRED"
_ROW: Final = Template("""\
    Consumption(
        service="$name",
        work="$name",
        exchange=EVENTS_EXCHANGE,
        routing_key="order.created",
        queues="$name",
        settings="$settings",
        operations_port=$port,
    ),
""")
_TEST_IMPORTS: Final = (
    "from $name.main import order_created",
    "from shared.messaging.certification import Certified, Promise",
    "from shared.redis.inbox import RedisInbox",
    "from tests.harness.examples import an_order, created",
    "from tests.harness.stores import store_in_process",
)
_FILES: Final = {
    "$name/__init__.py": '"""Say here what it is for."""\n',
    "$name/__main__.py": '''\
"""``python -m $name``"""

from $name.main import PROGRAM

if __name__ == "__main__":
    PROGRAM.main()
''',
    "$name/main.py": '''\
"""What is done about created orders."""

from shared.logs import get_logger
from shared.messages import Event, OrderCreated
from shared.messaging.consumer import consumer
from shared.redis.inbox import RedisTransaction
from shared.service.consuming import consuming

log = get_logger(__name__)


@consumer("$name", events=[OrderCreated])
async def order_created(event: Event[OrderCreated], transaction: RedisTransaction) -> None:
    """Told of each at least once; what is written in the transaction is written once."""
    log.info("seen", order_id=event.subject)
    transaction.write("INCR", "orders")


PROGRAM = consuming(order_created)
''',
    "tests/unit/test_$name.py": '''\
"""Created orders come to the same end, whatever brokers and crashes do to their events."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

$imports

EVENTS: Final = [created(an_order(f"order{number}")) for number in (1, 2, 3)]


@asynccontextmanager
async def world() -> AsyncIterator[Certified]:
    """The consumer, and what it leaves behind: look there for the keys, rows, files or calls of yours."""
    async with store_in_process() as redis:
        inbox = RedisInbox(redis, "$name", retention_seconds=60.0, timeout_seconds=1.0)

        async def effects() -> str | None:
            return await redis.get("$name:orders")

        yield Certified(handle=order_created.handler(inbox), effects=effects)


async def test_it_keeps_its_promises(promise: Promise) -> None:
    """Told twice, in another order, all at once, beside poison, and over a crash at each await."""
    await promise(world, EVENTS)
''',
}


def new_consumer(root: Path, name: str) -> list[Path]:
    """Writes the consumer into the tree at ``root``; returns what was written. Raises OrderctlError."""
    if not _NAME.fullmatch(name):
        raise OrderctlError(f"{name!r} is no name: small letters, digits and underscores, 3 to 30 of them")
    taken = name in SERVICES or (root / name).exists() or (root / "tests/unit" / f"test_{name}.py").exists()
    if taken:
        raise OrderctlError(f"there is a {name} already")
    row = Consumption(
        service=name,
        work=name,
        exchange=EVENTS_EXCHANGE,
        routing_key="order.created",
        queues=name,
        settings=name.upper(),
        operations_port=_free_port(),
    )
    values = {"name": name, "settings": row.settings, "port": str(row.operations_port)}
    values["imports"] = "\n".join(sorted(_filled(line, values) for line in _TEST_IMPORTS))
    rows = with_row((root / MAP).read_text(encoding="utf-8"), _ROW.substitute(values))
    written = {root / _filled(path, values): _filled(text, values) for path, text in _FILES.items()}
    written |= {root / MAP: rows, **deployed(root, row)}
    (root / name).mkdir()
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    return list(written)


def with_row(text: str, row: str) -> str:
    """The map with one more row. Raises OrderctlError where it does not look as expected."""
    if text.count(_BEHIND_THE_ROWS) != 1:
        raise OrderctlError(f"{MAP} has another form than expected: add the row to CONSUMPTIONS by hand")
    return text.replace(_BEHIND_THE_ROWS, row + _BEHIND_THE_ROWS)


def _filled(text: str, values: Mapping[str, str]) -> str:
    return Template(text).substitute(values)


def _free_port() -> int:
    """Behind all that services have."""
    return max(each.operations_port for each in SERVICES.values()) + 1
