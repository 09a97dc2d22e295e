"""Makes the SQLAlchemy engine for SQLite or PostgreSQL and gives sessions their transaction rules.

On both there is one writer at a time, over all processes: a transaction that may write takes its turn before its first
statement, and so everything that it reads stays true until it commits (docs/adr/0006-one-writer-at-a-time.md).
Transactions that only read see one state of the database and wait for nobody.
"""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.orm import Session, sessionmaker

from nagaya.db.errors import DatabaseUrlError

READ_ONLY = "nagaya_read_only"
PATIENT = "nagaya_patient"
"""Execution option of a transaction that waits for its turn however long that takes."""
PLACE = Path("control") / "control.db"
"""Where SQLite's file lies in the data directory: in a directory that only the api's user can enter."""
WRITER_LOCK = 7_013_914_721
"""PostgreSQL's advisory lock of whoever writes."""
TURN_SECONDS = 20
"""Longest wait for the turn to write, and for any other lock."""
POOL_SECONDS = 10
"""Longest wait for a connection of the pool."""
CONNECT_SECONDS = 5
LOST_SECONDS = 15
"""After so long without a sign of life of the other end, a connection counts as lost, at both ends."""
IDLE_TRANSACTION_SECONDS = 30
"""After so long the server ends a transaction whose process does nothing (it is stopped, or its host is gone)."""


def database_url(data_dir: Path, configured: str | None) -> str:
    """Returns the URL of the control database.

    Args:
        data_dir: Data directory of the platform.
        configured: Value of `NAGAYA_DATABASE_URL`, if set.
    """
    return configured or f"sqlite:///{data_dir / PLACE}"


def parse_url(url: str) -> URL:
    """Returns a URL in its parts.

    Raises:
        DatabaseUrlError: It is none of SQLite or PostgreSQL; the message does not repeat it, as it may hold a password.
    """
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except Exception as error:
        raise DatabaseUrlError("it is not a URL of the form postgresql://user:password@host/name") from error
    if backend == "postgres":
        # The scheme's older name, which libpq and many hosting platforms use.
        parsed, backend = parsed.set(drivername="postgresql"), "postgresql"
    if backend not in {"sqlite", "postgresql"}:
        raise DatabaseUrlError(f"{backend} is not supported; use PostgreSQL, or leave the setting out for SQLite")
    if backend == "postgresql" and not parsed.database:
        raise DatabaseUrlError("it names no database: postgresql://user:password@host/name")
    return parsed


def make_engine(url: str) -> Engine:
    """Returns an engine whose transactions are safe against concurrent writers.

    Args:
        url: `sqlite:///…` or `postgresql://…` (the psycopg driver is filled in).

    Raises:
        DatabaseUrlError: It is neither.
    """
    parsed = parse_url(url)
    return _postgresql(parsed) if parsed.get_backend_name() == "postgresql" else _sqlite(parsed)


def connect_arguments(url: URL) -> dict[str, Any]:
    """Returns what connections to PostgreSQL need beside their URL; what the URL says itself wins."""
    session = {
        "timezone": "UTC",
        "lock_timeout": f"{TURN_SECONDS}s",
        "idle_in_transaction_session_timeout": f"{IDLE_TRANSACTION_SECONDS}s",
        "tcp_keepalives_idle": LOST_SECONDS // 3,
        "tcp_keepalives_interval": LOST_SECONDS // 3,
        "tcp_keepalives_count": 2,
    }
    defaults: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": LOST_SECONDS // 3,
        "keepalives_interval": LOST_SECONDS // 3,
        "keepalives_count": 2,
        "tcp_user_timeout": LOST_SECONDS * 1000,
        "application_name": "nagaya",
    }
    own = url.query.get("options", "")
    # Of two options of one name the server takes the later one.
    options = [f"-c {name}={value}" for name, value in session.items()] + ([own] if isinstance(own, str) else list(own))
    return {name: value for name, value in defaults.items() if name not in url.query} | {"options": " ".join(options)}


def _postgresql(url: URL) -> Engine:
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=20,
        max_overflow=20,
        pool_timeout=POOL_SECONDS,
        pool_pre_ping=True,
        connect_args=connect_arguments(url),
    )

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get(READ_ONLY, False):
            return
        if options.get(PATIENT, False):
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})")

    return engine


def _sqlite(url: URL) -> Engine:
    """The driver is told never to open a transaction by itself.

    Every transaction that may write begins IMMEDIATE, because a deferred one that is upgraded later fails with
    "database is locked" at once, whatever the busy timeout.
    """
    if url.database and url.database != ":memory:":
        make_private(Path(url.database))
    connect: dict[str, Any] = {"timeout": TURN_SECONDS, "isolation_level": None}
    engine = create_engine(url, pool_size=20, max_overflow=20, pool_timeout=POOL_SECONDS, connect_args=connect)

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        # FULL, because an acknowledged change must survive a power cut and not only the end of the process.
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
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
        reading: dict[str, Any] = {READ_ONLY: True}
        if not self.is_sqlite:
            # All queries of one transaction see the same state, as they do on SQLite.
            reading |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._write = sessionmaker(self.engine, expire_on_commit=False)
        self._read = sessionmaker(self.engine.execution_options(**reading), expire_on_commit=False)

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
