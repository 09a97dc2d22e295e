"""Makes the SQLAlchemy engine for SQLite or PostgreSQL and gives sessions their transaction rules."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.orm import Session, sessionmaker

READ_ONLY = "nagaya_read_only"
PLACE = Path("control") / "control.db"
"""Where SQLite's file lies in the data directory: in a directory that only the api's user can enter."""


def database_url(data_dir: Path, configured: str | None) -> str:
    """Returns the URL of the control database.

    Args:
        data_dir: Data directory of the platform.
        configured: Value of `NAGAYA_DATABASE_URL`, if set.
    """
    return configured or f"sqlite:///{data_dir / PLACE}"


def make_engine(url: str) -> Engine:
    """Returns an engine whose transactions are safe against concurrent writers.

    The SQLite driver is told never to open a transaction by itself. Every transaction that may write begins IMMEDIATE,
    because a deferred one that is upgraded later fails with "database is locked" at once, whatever the busy timeout.

    Args:
        url: `sqlite:///…` or `postgresql://…` (the psycopg driver is filled in).
    """
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_engine(
            parsed.set(drivername="postgresql+psycopg"), pool_size=20, max_overflow=20, pool_pre_ping=True
        )
    if parsed.database and parsed.database != ":memory:":
        make_private(Path(parsed.database))
    engine = create_engine(parsed, pool_size=20, max_overflow=20, connect_args={"timeout": 30, "isolation_level": None})

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # FULL, because an acknowledged change must survive a power cut and not only the end of the process.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA busy_timeout=30000")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        read_only = connection.get_execution_options().get(READ_ONLY, False)
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def make_private(path: Path) -> None:
    """Makes a SQLite file, and what SQLite keeps beside it, readable by its owner only.

    SQLite gives later side files the mode of the database.

    Args:
        path: The database; made empty if it does not exist and its directory does.

    Raises:
        OSError: It is a symbolic link, or cannot be opened.
    """
    if not path.parent.is_dir():
        return  # SQLite's own message says what is missing.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    for suffix in ("", "-wal", "-shm"):
        try:
            descriptor = os.open(f"{path}{suffix}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            continue
        try:
            status = os.fstat(descriptor)
            if status.st_mode & 0o077 and os.geteuid() in (0, status.st_uid):
                os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)


class Database:
    """The engine and its two kinds of sessions.

    Args:
        url: See `make_engine`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = make_engine(url)
        self._write = sessionmaker(self.engine, expire_on_commit=False)
        self._read = sessionmaker(self.engine.execution_options(**{READ_ONLY: True}), expire_on_commit=False)

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is SQLite."""
        return self.engine.dialect.name == "sqlite"

    def write(self) -> Session:
        """Returns a session that may write. The caller commits."""
        return self._write()

    def read(self) -> Session:
        """Returns a session for reading only."""
        return self._read()

    def close(self) -> None:
        """Closes all pooled connections."""
        self.engine.dispose()
