"""The tables of the catalogue as code writes to them; ``migrations`` makes them."""

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Integer, MetaData, Table, Text

from shared.sql.outbox import NUMBER, outbox_table

METADATA: Final = MetaData()
PRODUCTS: Final = Table(
    "products",
    METADATA,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("sku", Text(collation="C").with_variant(Text(), "sqlite"), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("unit_amount", BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("words", Text, nullable=False),
)
VERSIONS: Final = Table(
    "versions", METADATA, Column("id", Integer, primary_key=True), Column("value", BigInteger)
)
"""One row: the version that was given last. Writers take turns on it, so versions tell their order."""
OUTBOX: Final = outbox_table(METADATA)
