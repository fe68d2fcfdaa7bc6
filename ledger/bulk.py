"""Many rows in one statement, and looking many up.

PostgreSQL takes each column of them as an array, which it unfolds itself: a statement per row costs more.
SQLite, which is in this process, takes them one by one.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Column,
    ColumnElement,
    Integer,
    Table,
    Text,
    any_,
    bindparam,
    column,
    func,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.rows import Row

POSTGRES: Final = "postgresql"
_INSERTS: Final[Mapping[str, Callable[[Table], Any]]] = {POSTGRES: postgresql.insert, "sqlite": sqlite.insert}
_TYPES: Final = (BigInteger, Integer, Text)
"""What columns hold; the first that fits counts."""
_BY_KEY: Final = text("SET LOCAL enable_seqscan = off")


class Known(StrEnum):
    """What becomes of a row whose key is there already."""

    REFUSED = "refused"
    KEPT = "kept"
    REPLACED = "replaced"
    ADDED_TO = "added to"


async def by_key(connection: AsyncConnection) -> None:
    """Has the transaction look rows up by their keys, however few there are.

    PostgreSQL keeps a statement's plan. By one that was made while a table was small it would read all rows
    for each batch, until the table is analyzed, a minute later at the earliest.
    """
    if connection.dialect.name == POSTGRES:
        await connection.execute(_BY_KEY)


def among(connection: AsyncConnection, column_: Column[str], values: Sequence[str]) -> ColumnElement[bool]:
    """Whether it is one of these. PostgreSQL gets one parameter for any number of them."""
    if connection.dialect.name == POSTGRES:
        return column_ == any_(literal(list(values), ARRAY(Text)))
    return column_.in_(values)


async def insert_rows(
    connection: AsyncConnection, table: Table, rows: Sequence[Row], known: Known = Known.REFUSED
) -> None:
    """Writes these rows, which have all columns of the table and different keys."""
    if rows:
        await _run(connection, _insert(connection.dialect.name, table, known), rows)


async def update_rows(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """Gives the rows that have these ids the other values of these, which name the same columns each."""
    if rows:
        await _run(connection, _update(connection.dialect.name, table, tuple(rows[0])), rows)


async def _run(connection: AsyncConnection, statement: Any, rows: Sequence[Row]) -> None:
    if connection.dialect.name == POSTGRES:
        columns = {f"given_{name}": [row[name] for row in rows] for name in rows[0]}
        await connection.execute(statement, columns)
    else:
        await connection.execute(statement, [{f"given_{name}": row[name] for name in row} for row in rows])


@cache
def _insert(dialect: str, table: Table, known: Known) -> Any:
    names = [each.name for each in table.c]
    insert = _INSERTS[dialect](table)
    if dialect == POSTGRES:
        insert = insert.from_select(names, select(_given(table, names)))
    else:
        insert = insert.values({name: bindparam(f"given_{name}") for name in names})
    keys = [key.name for key in table.primary_key]
    others = [name for name in names if name not in keys]
    match known:
        case Known.KEPT:
            return insert.on_conflict_do_nothing()
        case Known.REPLACED:
            new = {name: insert.excluded[name] for name in others}
            return insert.on_conflict_do_update(index_elements=keys, set_=new)
        case Known.ADDED_TO:
            sums = {name: table.c[name] + insert.excluded[name] for name in others}
            return insert.on_conflict_do_update(index_elements=keys, set_=sums)
        case Known.REFUSED:
            return insert


@cache
def _update(dialect: str, table: Table, names: Sequence[str]) -> Any:
    if dialect == POSTGRES:
        given: Any = _given(table, names).c
    else:
        given = {name: bindparam(f"given_{name}") for name in names}
    values = {name: given[name] for name in names if name != "id"}
    return update(table).where(table.c.id == given["id"]).values(values)


def _given(table: Table, names: Sequence[str]) -> Any:
    """The rows of a statement, as a table."""
    types = {name: next(each for each in _TYPES if isinstance(table.c[name].type, each)) for name in names}
    arrays = [bindparam(f"given_{name}", type_=ARRAY(kind)) for name, kind in types.items()]
    columns = [column(name, kind) for name, kind in types.items()]
    return func.unnest(*arrays).table_valued(*columns, name="given").render_derived()
