"""Brings the control database's schema up to this version, once, whoever starts first."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from nagaya.db.engine import Database
from nagaya.db.tables import metadata

LOCK_ID = 7_013_914_721
"""PostgreSQL advisory lock of this platform's migrations."""


class SchemaError(Exception):
    """The database's schema cannot be used by this version; the message says why and what to do."""


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _exclusive(database: Database) -> Iterator[Connection]:
    """Yields a connection in a transaction that only one process can have: everything is migrated or nothing."""
    with database.engine.connect() as connection, connection.begin():
        if not database.is_sqlite:
            # On SQLite the transaction itself excludes others: it begins IMMEDIATE.
            connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": LOCK_ID})
        yield connection


def upgrade(database: Database) -> None:
    """Upgrades the schema to the newest revision.

    Args:
        database: The control database.

    Raises:
        SchemaError: The schema is of a newer version than this one knows.
    """
    with _exclusive(database) as connection:
        config = _config(connection)
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        current = MigrationContext.configure(connection).get_current_heads()
        if unknown := set(current) - known:
            raise SchemaError(
                f"The database was upgraded by a newer version of Nagaya (revision {', '.join(sorted(unknown))}); "
                "start that version, or restore a backup made before the upgrade."
            )
        command.upgrade(config, "head")


def differences(database: Database) -> list[object]:
    """Returns how the schema in the database differs from the models; empty if they agree.

    Args:
        database: A database that is upgraded.
    """
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))
