"""Products, the sequence of their versions, the outbox, and what the search reads."""

import sqlalchemy as sa
from alembic import op

from shared.sql.outbox import NUMBER, outbox_table

revision = "0001"
down_revision = None

POSTGRES = (
    """
    ALTER TABLE products ADD COLUMN search tsvector
        GENERATED ALWAYS AS (array_to_tsvector(string_to_array(words, ' '))) STORED
    """,
    "CREATE INDEX products_by_word ON products USING gin (search)",
)
SQLITE = (
    """
    CREATE VIRTUAL TABLE products_search
        USING fts5(words, content='products', content_rowid='id', tokenize='unicode61 remove_diacritics 0')
    """,
    """
    CREATE TRIGGER products_made AFTER INSERT ON products BEGIN
        INSERT INTO products_search (rowid, words) VALUES (new.id, new.words);
    END
    """,
    """
    CREATE TRIGGER products_changed AFTER UPDATE ON products BEGIN
        INSERT INTO products_search (products_search, rowid, words) VALUES ('delete', old.id, old.words);
        INSERT INTO products_search (rowid, words) VALUES (new.id, new.words);
    END
    """,
)


def upgrade() -> None:
    """An empty catalogue."""
    op.create_table(
        "products",
        sa.Column("id", NUMBER, primary_key=True, autoincrement=True),
        sa.Column(
            "sku", sa.Text(collation="C").with_variant(sa.Text(), "sqlite"), nullable=False, unique=True
        ),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("category", sa.Text, nullable=False),
        sa.Column("unit_amount", sa.BigInteger, nullable=False),
        sa.Column("currency", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("words", sa.Text, nullable=False),
        sa.CheckConstraint("unit_amount BETWEEN 0 AND 1000000000", name="sound_amount"),
    )
    op.create_index(
        "products_by_category", "products", ["category", "sku"], postgresql_where=sa.text("NOT deleted")
    )
    versions = op.create_table(
        "versions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(versions, [{"id": 1, "value": 0}])
    outbox_table(sa.MetaData()).create(op.get_bind())
    for statement in POSTGRES if op.get_bind().dialect.name == "postgresql" else SQLITE:
        op.execute(statement)
