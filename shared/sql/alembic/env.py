"""What Alembic runs its revisions in: the connection, and the transaction, of whoever asked for them."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
