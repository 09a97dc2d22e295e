"""Makes a tenant's database out of the engine's template: copied, every id rotated, system user and project inserted.

Standard library only. The new file appears under its name by one rename after it was synced, so a process that is
killed at any point leaves either no database or a complete one; leftovers of a killed attempt are removed by the next.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TEMPORARY_SUFFIX = ".stamping"
SIDE_FILES = ("-wal", "-shm", "-journal")
# Tables whose ids occur in RBAC resource strings, and the columns that refer to them. A fresh database has no others.
ROTATED: Mapping[str, tuple[tuple[str, str], ...]] = {
    "project": (),
    "stack": (("stack_composition", "stack_id"),),
    "stack_component": (("stack_composition", "component_id"),),
    "flavor": (),
}
OWNED_BY_SYSTEM = ("stack", "stack_component", "flavor")


class StampError(RuntimeError):
    """The database could not be made; nothing was left under its name."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StampOrder:
    """What a new database must contain; the keeper's `stamp` object (`docs/reference/internals.md`)."""

    template: Path
    server_id: UUID
    server_name: str
    project_id: UUID
    project_name: str
    system_user_id: UUID
    system_user_name: str

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> StampOrder:
        """Reads the keeper's object.

        Raises:
            StampError: If a member is missing or not of its type.
        """
        try:
            return cls(
                template=Path(document["template"]),
                server_id=UUID(document["server_id"]),
                server_name=str(document["server_name"]),
                project_id=UUID(document["project"]["id"]),
                project_name=str(document["project"]["name"]),
                system_user_id=UUID(document["system_user"]["id"]),
                system_user_name=str(document["system_user"]["name"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StampError(f"The stamp order is not usable: {type(error).__name__} {error}.") from error


def ensure_database(order: StampOrder, database: Path, checkpoint: Callable[[str], None] = lambda _step: None) -> bool:
    """Makes `database` if it does not exist.

    Args:
        order: What it must contain.
        database: Where it must be; the directory must exist and belong to the caller.
        checkpoint: Called with the name of each step that was just finished; tests stop the process there.

    Returns:
        Whether it was made by this call.

    Raises:
        StampError: If the template is missing or unusable, or a write-ahead log lies where no database is.
    """
    if database.exists():
        return False
    with _locked(database.parent):
        if database.exists():
            return False
        if orphan := next((p for s in SIDE_FILES if (p := Path(f"{database}{s}")).exists()), None):
            raise StampError(
                f"{database.name} is missing, but {orphan.name} is present: the database was removed or lost. "
                "Restore it from a backup, or remove that file as well to begin with an empty tenant."
            )
        temporary = database.with_name(database.name + TEMPORARY_SUFFIX)
        _remove(temporary)
        try:
            _write(order, temporary, checkpoint)
            temporary.rename(database)
        except (OSError, sqlite3.Error) as error:
            _remove(temporary)
            raise StampError(f"The tenant's database could not be made from {order.template}: {error}.") from error
        checkpoint("renamed")
        _sync(database.parent)
        checkpoint("done")
    return True


def _write(order: StampOrder, temporary: Path, checkpoint: Callable[[str], None]) -> None:
    shutil.copyfile(order.template, temporary)
    temporary.chmod(0o600)
    checkpoint("copied")
    connection = sqlite3.connect(temporary, isolation_level=None)
    try:
        # The file is synced as a whole before it gets its name, so single writes need not be.
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("BEGIN IMMEDIATE")
        _rewrite(connection, order)
        checkpoint("rewritten")
        connection.execute("COMMIT")
        checkpoint("committed")
    finally:
        connection.close()
    for suffix in SIDE_FILES:
        if Path(f"{temporary}{suffix}").exists():
            raise OSError(f"SQLite did not fold {temporary.name}{suffix} into the database")
    _sync(temporary)
    checkpoint("synced")


def _rewrite(connection: sqlite3.Connection, order: StampOrder) -> None:
    # SQLAlchemy stores UUIDs as 32 hexadecimal digits, and times as UTC text with microseconds.
    now = datetime.now(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    connection.execute(
        "UPDATE server_settings SET id=?, server_name=?, updated=?, last_user_activity=?, active=1, "
        "enable_analytics=0, display_announcements=0, display_updates=0",
        (order.server_id.hex, order.server_name, now, now),
    )
    connection.execute("DELETE FROM project")
    for table, references in ROTATED.items():
        for (old,) in connection.execute(f"SELECT id FROM {table}").fetchall():  # noqa: S608 - names of our own table
            new = uuid4().hex
            connection.execute(
                f"UPDATE {table} SET id=?, created=?, updated=? WHERE id=?",  # noqa: S608 - likewise
                (new, now, now, old),
            )
            for referring, column in references:
                connection.execute(
                    f"UPDATE {referring} SET {column}=? WHERE {column}=?",  # noqa: S608 - likewise
                    (new, old),
                )
    stamped = {"created": now, "updated": now}
    _insert(connection, "user", _system_user(order) | stamped)
    project = {"id": order.project_id.hex, "name": order.project_name, "display_name": order.project_name}
    _insert(connection, "project", project | {"description": ""} | stamped)
    for table in OWNED_BY_SYSTEM:
        connection.execute(f"UPDATE {table} SET user_id=?", (order.system_user_id.hex,))  # noqa: S608 - likewise
    if broken := connection.execute("PRAGMA foreign_key_check").fetchall():
        raise sqlite3.IntegrityError(f"references of {broken[0][0]} are broken")


def _system_user(order: StampOrder) -> dict[str, object]:
    # Inactive, without password and without an external id: ZenML refuses its tokens for each of these three reasons.
    return {
        "id": order.system_user_id.hex,
        "name": order.system_user_name,
        "full_name": "Nagaya",
        "is_service_account": 0,
        "active": 0,
        "is_admin": 0,
        "oidc_claims": "null",
    }


def _insert(connection: sqlite3.Connection, table: str, values: Mapping[str, object]) -> None:
    # Engines differ in optional columns (`oidc_claims` is new in 0.98.0); what the table lacks is left out.
    present = {row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')}
    row = {column: value for column, value in values.items() if column in present}
    marks = ",".join("?" * len(row))
    connection.execute(
        f'INSERT INTO "{table}" ({",".join(row)}) VALUES ({marks})',  # noqa: S608 - our own column names
        tuple(row.values()),
    )


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Holds an exclusive lock on the directory; the kernel releases it when the process dies."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove(temporary: Path) -> None:
    for suffix in ("", *SIDE_FILES):
        Path(f"{temporary}{suffix}").unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
