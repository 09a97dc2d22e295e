"""How processes of the platform tell each other that something changed: rows in a sequence, and a wake-up for readers.

On PostgreSQL writers notify and readers listen; on SQLite readers look every second. A reader that missed a wake-up
loses nothing, because it reads all rows after the last one that it has seen. As there is one writer at a time, rows
become visible in the order of their sequence.
"""

import asyncio
import contextlib
import datetime as dt
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Integer, String, Text, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from nagaya.db.base import Base, utc_now
from nagaya.db.engine import Database, connect_arguments

if TYPE_CHECKING:
    import psycopg

CHANNEL = "nagaya_signals"
POLL_SECONDS = 1.0


class Signal(Base):
    """Something changed; whoever cares reads the rows after the last one it saw."""

    __tablename__ = "signals"

    sequence: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True
    )
    topic: Mapped[str] = mapped_column(String(32))
    """`tenant` (its specification or policy changed) or `operation`."""
    payload: Mapped[str] = mapped_column(Text)
    created: Mapped[dt.datetime] = mapped_column(default=utc_now, index=True)


def send(session: Session, topic: str, payload: str) -> None:
    """Writes a signal; readers learn of it when the transaction is committed, and never if it is not.

    Args:
        session: The session of the change.
        topic: See `Signal`.
        payload: What readers need to know.
    """
    session.add(Signal(topic=topic, payload=payload))
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text(f"NOTIFY {CHANNEL}"))


class Wakeups:
    """Tells a reader when to look for new signals. Used by one task on one event loop.

    Args:
        database: The control database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: psycopg.AsyncConnection[Any] | None = None

    async def wait(self) -> None:
        """Returns when there may be new signals: at the latest after `POLL_SECONDS`, whatever the database does."""
        if self._database.is_sqlite:
            await asyncio.sleep(POLL_SECONDS)
            return
        import psycopg  # noqa: PLC0415 - a large library, which SQLite does not need.

        try:
            if self._connection is None:
                # What was written while nobody listened is looked for at once.
                self._connection = await self._listen()
                return
            async for _ in self._connection.notifies(timeout=POLL_SECONDS, stop_after=1):
                return
        except (psycopg.Error, OSError):
            await self.close()
            await asyncio.sleep(POLL_SECONDS)

    async def _listen(self) -> "psycopg.AsyncConnection[Any]":
        import psycopg  # noqa: PLC0415 - see `wait`.

        url = self._database.engine.url
        _, given = self._database.engine.dialect.create_connect_args(url)
        arguments = {**given, **connect_arguments(url)}
        connection: psycopg.AsyncConnection[Any] = await psycopg.AsyncConnection.connect(**arguments, autocommit=True)
        try:
            await connection.execute(f"LISTEN {CHANNEL}")
        except BaseException:
            await connection.close()
            raise
        return connection

    async def close(self) -> None:
        """Stops listening."""
        connection, self._connection = self._connection, None
        if connection is not None:
            import psycopg  # noqa: PLC0415 - see `wait`.

            with contextlib.suppress(psycopg.Error, OSError):
                await connection.close()
