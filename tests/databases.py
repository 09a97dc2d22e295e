"""Which database tests of the control plane run on: SQLite, or PostgreSQL with NAGAYA_TEST_DATABASE=postgresql.

A test gets its database by its data directory, and so the same test runs on both. On PostgreSQL the name of the
directory's database is written into the directory: whoever opens it again finds the same one, and a directory that is
made from a template gets a copy of the template's database.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from harness.postgres import PostgresMissing, PostgresServer

KINDS = ("sqlite", "postgresql")
CHOSEN = os.environ.get("NAGAYA_TEST_DATABASE") or "sqlite"
PLACE = "postgresql-database"

if CHOSEN not in KINDS:
    raise pytest.UsageError(f"NAGAYA_TEST_DATABASE must be one of {', '.join(KINDS)}, not {CHOSEN!r}.")


@cache
def _server() -> PostgresServer | PostgresMissing:
    try:
        made = PostgresServer()
    except PostgresMissing as missing:
        return missing
    made.start()
    return made


def server() -> PostgresServer:
    """Returns the session's PostgreSQL server, started on first use; skips the test where there is none."""
    found = _server()
    if isinstance(found, PostgresMissing):
        pytest.skip(str(found))
    return found


def close() -> None:
    """Ends the session's server, if there is one."""
    if _server.cache_info().currsize and isinstance(found := _server(), PostgresServer):
        found.close()
    _server.cache_clear()


def database_url(directory: Path, template: Path | None = None, kind: str = CHOSEN) -> str | None:
    """Returns the URL of a data directory's database; None for SQLite, whose file lies in the directory.

    Args:
        directory: The data directory; it need not exist yet.
        template: A data directory whose database is copied.
        kind: Of which kind.
    """
    if kind == "sqlite":
        return None
    place = directory / PLACE
    source = None if template is None else (template / PLACE).read_text()
    # A copied directory brings the name of its template's database along.
    if not place.exists() or place.read_text() == source:
        name = server().create(source)
        directory.mkdir(parents=True, exist_ok=True)
        place.write_text(name)
    return server().url(place.read_text())


def forget(directory: Path) -> None:
    """Removes the database of a data directory that nobody needs any more; a SQLite file goes with the directory."""
    place = directory / PLACE
    if place.exists():
        server().drop(place.read_text())
        place.unlink()
