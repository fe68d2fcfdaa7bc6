"""A service's schema, brought up to date by the service itself at its start.

The revisions are Alembic's, in the service's own folder. Replicas that start together take turns by an
advisory lock; one that finds a revision that it does not know is older than the schema and leaves it alone.
"""

from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from shared.sql.turns import take_turns

ENVIRONMENT = Path(__file__).with_name("alembic")


def migrations_of(service: str) -> Path:
    """The folder of a service's revisions."""
    return Path(str(files(service))) / "migrations"


class NewerSchema(Exception):
    """Raised when this service does not know the database's revision: a newer one has migrated it."""


def migrate(connection: Connection, revisions: Path) -> None:
    """Applies the revisions that are missing, within the connection's transaction. Raises NewerSchema."""
    config = Config(attributes={"connection": connection})
    for option, folder in {"script_location": ENVIRONMENT, "version_locations": revisions}.items():
        config.set_main_option(option, str(folder).replace("%", "%%"))  # it is a template
    config.set_main_option("path_separator", "newline")  # a folder's name may have anything else in it
    take_turns(connection, revisions.parent.name)
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise NewerSchema(current)
    command.upgrade(config, "head")
