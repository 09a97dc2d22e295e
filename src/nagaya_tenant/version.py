"""Which engine versions can be forked, and whether a tenant's database fits the engine that is about to serve it."""

from __future__ import annotations

import functools
import sqlite3
from importlib.metadata import version as distribution_version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# A version is listed only when `nagaya_tenant.reset` has a table for it that the equivalence tests have proved.
FORKABLE = ("0.98.0",)


class UnsupportedEngineError(RuntimeError):
    """The installed ZenML cannot be forked safely; the keeper starts its tenants with `nagaya_tenant.plain`."""


class DatabaseVersionError(RuntimeError):
    """The tenant's database belongs to another ZenML version than the engine."""


@functools.cache
def installed() -> str:
    """Returns the version of the installed zenml distribution, without importing it; forks inherit the answer."""
    return distribution_version("zenml")


def require_forkable(version: str) -> None:
    """Refuses engine versions whose private state is not known.

    Raises:
        UnsupportedEngineError: If there is no reset table for `version`.
    """
    if version not in FORKABLE:
        raise UnsupportedEngineError(
            f"ZenML {version} has no reset table (known: {', '.join(FORKABLE)}); its tenants must be started plainly."
        )


def check_database(database: Path, version: str) -> None:
    """Refuses a database that the engine would have to migrate.

    ZenML stamps each release's own version as Alembic revision, so equality with the engine's version is enough.

    Raises:
        DatabaseVersionError: If the revision differs, is missing, or the file is not a ZenML database.
    """
    try:
        connection = sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True)
        try:
            rows = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise DatabaseVersionError(f"{database.name} cannot be read as a ZenML database: {error}.") from error
    found = ", ".join(sorted(str(row[0]) for row in rows)) or "none"
    if found != version:
        raise DatabaseVersionError(
            f"The database {database.name} is of ZenML {found}, but the engine is {version}. "
            "It is not migrated at start: choose the engine that the database belongs to, or upgrade the tenant."
        )
