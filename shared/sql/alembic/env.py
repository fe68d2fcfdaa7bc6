"""What Alembic runs its revisions in: connection and transaction of the service that asked for them."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
context.run_migrations()
