"""Remembers when sessions and API keys were last used and stores that now and then."""

import datetime as dt
import threading
import uuid

from nagaya.db.engine import Database
from nagaya.identity import repository


class Activity:
    """Last uses that are not stored yet. What a crash loses is at most one interval of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[uuid.UUID, dt.datetime] = {}
        self._keys: dict[uuid.UUID, dt.datetime] = {}

    def session_used(self, session_id: uuid.UUID, now: dt.datetime) -> None:
        """Notes that a session was used."""
        with self._lock:
            self._sessions[session_id] = now

    def key_used(self, key_id: uuid.UUID, now: dt.datetime) -> None:
        """Notes that an API key was used."""
        with self._lock:
            self._keys[key_id] = now

    def last_seen(self, session_id: uuid.UUID) -> dt.datetime | None:
        """Returns when a session was last used, if that is not stored yet."""
        return self._sessions.get(session_id)

    def flush(self, database: Database) -> None:
        """Stores what was noted.

        Args:
            database: The control database. If it fails, everything stays noted for the next time.
        """
        with self._lock:
            sessions, self._sessions = self._sessions, {}
            keys, self._keys = self._keys, {}
        if not sessions and not keys:
            return
        try:
            with database.write() as session:
                repository.touch(session, sorted(sessions.items()), sorted(keys.items()))
                session.commit()
        except Exception:
            with self._lock:
                self._sessions = sessions | self._sessions
                self._keys = keys | self._keys
            raise
