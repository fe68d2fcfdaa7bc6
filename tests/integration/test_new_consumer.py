"""`orderctl new consumer`: what it writes works as it is, beside everything else."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.harness.embedded import operator_of_embedded
from tests.harness.overlay import copy_of_this_tree
from tests.harness.waiting import wait_until

NAME = "stock_taker"  # behind "shared" in the alphabet, as most names are not
FIRST_PORT = 29_300
IN_SQL = "piece_counter"
IN_SQL_MAIN = """
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.messages import Event, OrderCreated
from shared.messaging.consumer import consumer
from shared.service.consuming import consuming

ADD = text(
    "INSERT INTO pieces VALUES (:sku, :more) "
    "ON CONFLICT (sku) DO UPDATE SET count = pieces.count + excluded.count"
)

@consumer("piece_counter", events=[OrderCreated])
async def order_created(event: Event[OrderCreated], transaction: AsyncConnection) -> None:
    for item in event.data.order.items:
        await transaction.execute(ADD, {"sku": item.sku, "more": item.qty})

PROGRAM = consuming(order_created)
"""
IN_SQL_REVISION = """
import sqlalchemy as sa
from alembic import op

from shared.sql.inbox import inbox_table

revision, down_revision = "0001", None

def upgrade() -> None:
    inbox_table(sa.MetaData()).create(op.get_bind())
    op.create_table(
        "pieces", sa.Column("sku", sa.Text, primary_key=True), sa.Column("count", sa.Integer, nullable=False)
    )
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which one was begun."""
    tree = copy_of_this_tree(tmp_path_factory.mktemp("tree"))
    told = run(tree, "orderctl", "new", "consumer", NAME)
    assert told.returncode == 0, told.stderr
    for path in (f"{NAME}/main.py", "docs/events/asyncapi.json"):
        assert f"wrote {path}" in told.stderr + told.stdout
    return tree


def run(tree: Path, module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """A Python module of that checkout."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)


def test_what_it_writes_is_short_passes_its_test_and_the_linter(tree: Path) -> None:
    """The consumer itself is some twenty lines."""
    assert len((tree / NAME / "main.py").read_text().splitlines()) <= 20
    for module, *arguments in (
        ("pytest", "-q", f"tests/unit/test_{NAME}.py"),
        ("ruff", "check", NAME, f"tests/unit/test_{NAME}.py", "shared/pipeline.py"),
        ("ruff", "format", "--check", NAME, f"tests/unit/test_{NAME}.py", "shared/pipeline.py"),
        ("mypy", NAME),
    ):
        ended = run(tree, module, *arguments)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_it_is_deployed_as_all_others_are(tree: Path) -> None:
    """Whatever names services names it: compose, Prometheus, Kubernetes, rights, settings, the events."""
    tests = [
        f"tests/unit/test_{what}.py" for what in ("services", "compose", "documentation", "orderctl_docker")
    ]
    for module, *arguments in (("pytest", "-q", *tests), ("tests.contracts",), ("tests.kubernetes",)):
        ended = run(tree, module, *arguments)
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(("name", "why"), [(NAME, "already"), ("notifier", "already"), ("../x", "no name")])
def test_a_name_that_cannot_be_is_refused(tree: Path, name: str, why: str) -> None:
    """And nothing is written."""
    before = (tree / "shared/pipeline.py").read_text()
    ended = run(tree, "orderctl", "new", "consumer", name)
    assert (ended.returncode, why in ended.stderr) == (1, True), ended.stderr
    assert (tree / "shared/pipeline.py").read_text() == before


@pytest.fixture
def tree_with_sql(tree: Path) -> Path:
    """The same with another one begun, whose effects are in a database of its own: as CONTRIBUTING says."""
    begun = run(tree, "orderctl", "new", "consumer", IN_SQL)
    assert begun.returncode == 0, begun.stderr
    rows = tree / "shared/pipeline.py"
    row = f'settings="{IN_SQL.upper()}",\n'
    rows.write_text(rows.read_text().replace(row, f"{row}        needs_database=True,\n"))
    (tree / IN_SQL / "main.py").write_text(IN_SQL_MAIN)
    (tree / IN_SQL / "migrations").mkdir()
    (tree / IN_SQL / "migrations" / "v0001_pieces.py").write_text(IN_SQL_REVISION)
    return tree


async def test_they_run_with_the_others_and_are_told_of_orders(tree_with_sql: Path, tmp_path: Path) -> None:
    """Seen by `status` like every other, once `up` has been called; one writes Redis, one a database."""
    new = (NAME, IN_SQL)
    ports = [f"{name}.ops" for name in new]
    with operator_of_embedded(tmp_path / "data", FIRST_PORT, tree=tree_with_sql, more=ports) as operator:
        operator.types("up", "--mode", "embedded")
        assert [operator.status()["services"][name]["ready"] for name in new] == [True, True]
        operator.types("inventory", "set", "cable", "5")
        operator.types("order", "place", "--id", "order1", "--sku", "cable")
        await wait_until(lambda: "order1" in operator.types("logs", NAME), what="the order in its log")
        (file,) = operator.layout.data_dir.rglob(f"{IN_SQL}.db")

        def rows(query: str) -> list[tuple[Any, ...]]:
            with closing(sqlite3.connect(file)) as database:
                return database.execute(query).fetchall()

        counted = [("cable", 1)]
        await wait_until(lambda: rows("SELECT * FROM pieces") == counted, what="its row in its database")
        assert rows("SELECT count(*) FROM inbox") == [(1,)]
