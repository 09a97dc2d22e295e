"""Brings the control database's schema up to this version, once, whoever starts first.

Most starts find it up to date; they do without Alembic, whose import would be a twentieth of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from nagaya.db.engine import PATIENT, READ_ONLY, Database
from nagaya.db.errors import SchemaError, reason_of
from nagaya.db.tables import metadata

if TYPE_CHECKING:
    from alembic.config import Config

MIGRATIONS = Path(__file__).with_name("migrations")

OLDEST_POSTGRESQL = 14
"""Oldest major version of PostgreSQL that is supported."""


def _config(connection: Connection) -> "Config":
    from alembic.config import Config  # noqa: PLC0415 - a large library, which hardly any start needs.

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


@contextmanager
def _exclusive(database: Database) -> Iterator[Connection]:
    """Yields a connection in a transaction that only one process can have: everything is migrated or nothing.

    Migrations are writers like any other (see `nagaya.db.engine`), except that they wait for as long as it takes.
    """
    engine = database.engine.execution_options(**{PATIENT: True})
    with engine.connect() as connection:
        _require_version(connection)
        with connection.begin():
            yield connection


def _require_version(connection: Connection) -> None:
    version = connection.dialect.server_version_info
    if connection.dialect.name == "postgresql" and version is not None and int(version[0]) < OLDEST_POSTGRESQL:
        raise SchemaError(
            f"The control database cannot be used: the server is PostgreSQL {'.'.join(map(str, version))}; "
            f"install version {OLDEST_POSTGRESQL} or newer."
        )


def upgrade(database: Database, revision: str = "head") -> None:
    """Upgrades the schema.

    Args:
        database: The control database.
        revision: To which revision; by default the newest.

    Raises:
        SchemaError: The database cannot be used, or its schema is of a newer version than this one knows.
    """
    try:
        if revision == "head" and _is_current(database):
            return
        # Large libraries, which hardly any start needs.
        from alembic import command  # noqa: PLC0415
        from alembic.migration import MigrationContext  # noqa: PLC0415
        from alembic.script import ScriptDirectory  # noqa: PLC0415

        with _exclusive(database) as connection:
            config = _config(connection)
            known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
            current = MigrationContext.configure(connection).get_current_heads()
            if unknown := set(current) - known:
                raise SchemaError(
                    f"The database was upgraded by a newer version of Nagaya (revision {', '.join(sorted(unknown))}); "
                    "start that version, or restore a backup made before the upgrade."
                )
            command.upgrade(config, revision)
    except SQLAlchemyError as error:
        raise SchemaError(reason_of(error)) from error


def newest_revision() -> str:
    """Returns the newest revision, which is the number in the name of its file."""
    return max(path.name.split("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))


def _is_current(database: Database) -> bool:
    """Whether the schema is this version's; waits for nobody who writes."""
    with database.engine.execution_options(**{READ_ONLY: True}).connect() as connection:
        _require_version(connection)
        if not inspect(connection).has_table("alembic_version"):
            return False
        return list(connection.scalars(text("SELECT version_num FROM alembic_version"))) == [newest_revision()]


def revisions(database: Database) -> list[str]:
    """Returns all revisions of the schema, oldest first."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - as in `upgrade`.

    with database.engine.connect() as connection:
        scripts = ScriptDirectory.from_config(_config(connection)).walk_revisions()
        return [script.revision for script in reversed(list(scripts))]


def differences(database: Database) -> list[object]:
    """Returns how the schema in the database differs from the models; empty if they agree.

    Args:
        database: A database that is upgraded.
    """
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415 - as in `upgrade`.
    from alembic.migration import MigrationContext  # noqa: PLC0415

    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))
