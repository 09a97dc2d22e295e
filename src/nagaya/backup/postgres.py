"""A control database on PostgreSQL in a backup: made and restored with PostgreSQL's own tools."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import IO

from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from nagaya.backup.errors import BackupError

_TOOL_SECONDS = 6 * 3600


def _environment(url: str) -> dict[str, str]:
    """Return the connection as libpq's variables: a password on a command line could be read by others."""
    parsed = make_url(url)
    values = {
        "PGHOST": parsed.host,
        "PGPORT": parsed.port,
        "PGUSER": parsed.username,
        "PGPASSWORD": parsed.password,
        "PGDATABASE": parsed.database,
        "PGSSLMODE": parsed.query.get("sslmode"),
        "PGSSLROOTCERT": parsed.query.get("sslrootcert"),
    }
    if parsed.host is None and "host" in parsed.query:
        values["PGHOST"] = str(parsed.query["host"])
    passed = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
    return passed | {name: str(value) for name, value in values.items() if value is not None}


def _run(tool: str, arguments: list[str], url: str, *, source: IO[bytes] | None, target: IO[bytes] | None) -> None:
    path = shutil.which(tool)
    if path is None:
        raise BackupError(
            f"{tool} was not found on PATH: the control database is on PostgreSQL, and its own tools make and restore "
            "its backup. Install the client package of your PostgreSQL version (Debian: postgresql-client)."
        )
    done = subprocess.run(
        [path, *arguments],
        env=_environment(url),
        stdin=source or subprocess.DEVNULL,
        stdout=target or subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
        timeout=_TOOL_SECONDS,
    )
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise BackupError(f"{tool} failed: {said[-1] if said else f'exit code {done.returncode}'}")


def dump(url: str, target: IO[bytes]) -> None:
    """Write a consistent dump (custom format) of the database. Raises BackupError."""
    _run("pg_dump", ["--format=custom", "--no-owner", "--no-privileges"], url, source=None, target=target)


def restore(url: str, source: IO[bytes]) -> None:
    """Restore a dump into an empty database, whole or not at all. Raises BackupError."""
    options = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges"]
    _run("pg_restore", [*options, "--dbname", str(make_url(url).database)], url, source=source, target=None)


def check_empty(url: str) -> None:
    """Raises BackupError when the database cannot be reached or already holds tables."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        tables = inspect(engine).get_table_names()
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()[0]
        raise BackupError(f"The control database cannot be reached: {reason}") from error
    finally:
        engine.dispose()
    if tables:
        raise BackupError("The control database is not empty; restore into an empty one (NAGAYA_DATABASE_URL).")


def apply_again(url: str) -> None:
    """Let the platform tell its runtime about every tenant anew."""
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    try:
        with engine.begin() as connection:
            connection.execute(text("UPDATE tenants SET applied_generation = 0"))
    finally:
        engine.dispose()
