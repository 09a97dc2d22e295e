"""Which engine versions can be forked, and whether a tenant's database fits the engine that is about to serve it."""

from __future__ import annotations

import functools
import importlib
import sqlite3
from importlib.metadata import version as distribution_version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

_PREFIX = "zenml_"


class UnsupportedEngineError(RuntimeError):
    """The installed ZenML cannot be forked safely; the keeper starts its tenants with `nagaya_tenant.plain`."""


class DatabaseVersionError(RuntimeError):
    """The tenant's database belongs to another ZenML version than the engine."""


@functools.cache
def installed() -> str:
    """Returns the version of the installed zenml distribution, without importing it; forks inherit the answer."""
    return distribution_version("zenml")


def part(version: str, name: str) -> ModuleType:
    """One of the modules in which all that is particular to a version is kept.

    Args:
        version: For instance `0.98.0`.
        name: `routes` (every engine has it), `forks` (engines that can be forked), `amendments` (engines in which
            something must be put right).

    Raises:
        LookupError: There is no such module for the version.
    """
    module = _module(version, name)
    if not _exists(module):
        raise LookupError(f"This release of Nagaya has no {name} for ZenML {version}.")
    return importlib.import_module(module)


def has_part(version: str, name: str) -> bool:
    """Whether `part` has this module."""
    return _exists(_module(version, name))


def known(name: str) -> list[str]:
    """The versions that have a module `name`."""
    found = (path.parent.name.removeprefix(_PREFIX) for path in Path(__file__).parent.glob(f"{_PREFIX}*/{name}.py"))
    return sorted(each.replace("_", ".") for each in found)


def _module(version: str, name: str) -> str:
    return f"{__package__}.{_PREFIX}{version.replace('.', '_')}.{name}"


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def require_forkable(version: str) -> None:
    """Refuses engine versions whose private state is not known.

    A version has a table (`nagaya_tenant.zenml_<version>.forks`) only when the equivalence tests have proved it.

    Raises:
        UnsupportedEngineError: If there is no reset table for `version`.
    """
    if not has_part(version, "forks"):
        raise UnsupportedEngineError(
            f"ZenML {version} has no reset table (known: {', '.join(known('forks'))}); its tenants must be started "
            "plainly."
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
