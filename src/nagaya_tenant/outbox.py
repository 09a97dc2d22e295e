"""The durable, ordered queue of what this tenant must tell the platform: audit, usage, deleted resources.

One SQLite file. `append` returns after the events are on disk (`synchronous=FULL`); callers that come while a commit
is running share the next one. The queue is bounded: at `limit` events new *intents* are refused, so that no change is
ever made that could not be recorded; the last tenth above the limit is kept for what follows from changes already
made (outcomes, usage, deletions), and only beyond that is an event dropped, with an error in the log. An intent whose
outcome got lost is reported as `outcome: unknown` at the next start.
"""

from __future__ import annotations

import json
import logging
import queue
import sqlite3
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

DEFAULT_LIMIT = 100_000
_BATCH = 256
_SCHEMA = """
CREATE TABLE IF NOT EXISTS event (seq INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS open_intent (id TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

Event = dict[str, Any]


class OutboxFullError(RuntimeError):
    """The platform has not taken events for so long that no change can be recorded any more."""


class Outbox:
    """The queue; thread-safe.

    Args:
        path: The database file; made if it does not exist.
        limit: How many events may wait before new intents are refused.
        clock: Wall clock in seconds.
    """

    def __init__(self, path: Path, limit: int = DEFAULT_LIMIT, clock: Callable[[], float] = time.time) -> None:
        self._limit = limit
        self._clock = clock
        self._on_append: Callable[[], None] | None = None
        self._jobs: queue.SimpleQueue[tuple[Callable[[sqlite3.Connection], Any], Future[Any]] | None]
        self._jobs = queue.SimpleQueue()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_SCHEMA)
        self._count = int(self._db.execute("SELECT count(*) FROM event").fetchone()[0])
        self._values = {str(key): str(value) for key, value in self._db.execute("SELECT key, value FROM meta")}
        self._close_lost_intents()
        # Started by the first write: a tenant that is only read from needs no writer.
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False

    def __len__(self) -> int:
        return self._count

    def on_append(self, callback: Callable[[], None] | None) -> None:
        """Sets what is called, in the writer's thread, after each commit that added events."""
        self._on_append = callback

    def intend(self, intent: str, event: Event) -> Future[None]:
        """Records what is about to be done; the future completes when it is on disk.

        Args:
            intent: Id that the outcome will name.
            event: JSON object without `seq`.

        Raises:
            OutboxFullError: Too many events wait for the platform.
        """
        if self._count >= self._limit:
            raise OutboxFullError(f"{self._count} events wait for the control plane; no change can be recorded.")
        body = json.dumps(event, separators=(",", ":"))

        def write(db: sqlite3.Connection) -> None:
            db.execute("INSERT INTO event (body) VALUES (?)", (body,))
            db.execute("INSERT INTO open_intent (id, body) VALUES (?, ?)", (intent, body))
            self._count += 1

        return self._submit(write)

    def conclude(self, intent: str, event: Event) -> Future[None]:
        """Records the outcome of an intent; the future completes when it is on disk."""
        body = json.dumps(event, separators=(",", ":"))

        def write(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM open_intent WHERE id = ?", (intent,))
            self._insert(db, body)

        return self._submit(write)

    def append(self, event: Event) -> Future[None]:
        """Records an event; the future completes when it is on disk."""
        body = json.dumps(event, separators=(",", ":"))
        return self._submit(lambda db: self._insert(db, body))

    def batch(self, limit: int = 200) -> list[Event]:
        """The oldest events, each with its `seq`, at most `limit`."""

        def read(db: sqlite3.Connection) -> list[Event]:
            rows = db.execute("SELECT seq, body FROM event ORDER BY seq LIMIT ?", (limit,)).fetchall()
            return [{"seq": seq, **json.loads(body)} for seq, body in rows]

        events: list[Event] = self._submit(read).result()
        return events

    def acknowledge(self, seq: int) -> int:
        """Forgets the events up to and including a sequence number; returns how many that were."""

        def write(db: sqlite3.Connection) -> int:
            removed = db.execute("DELETE FROM event WHERE seq <= ?", (seq,)).rowcount
            self._count -= removed
            return removed

        removed: int = self._submit(write).result()
        return removed

    def remember(self, key: str, value: str) -> Future[None]:
        """Stores a small value beside the queue (for instance the last sign of life of the channel).

        Returns:
            A future that completes when it is on disk.
        """
        self._values[key] = value
        return self._submit(
            lambda db: db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value)) and None
        )

    def recall(self, key: str) -> str | None:
        """A value stored with `remember`, `None` if there is none; never blocks."""
        return self._values.get(key)

    def close(self) -> None:
        """Finishes what is queued and closes the file."""
        with self._starting:
            self._closed = True
            writer = self._thread
        if writer is not None and writer.is_alive():
            self._jobs.put(None)
            writer.join()
        self._db.close()

    def _insert(self, db: sqlite3.Connection, body: str) -> None:
        if self._count >= self._limit + max(1, self._limit // 10):
            log.error("The queue of events for the control plane is full; one event was dropped.")
            return
        db.execute("INSERT INTO event (body) VALUES (?)", (body,))
        self._count += 1

    def _close_lost_intents(self) -> None:
        rows = self._db.execute("SELECT id, body FROM open_intent").fetchall()
        if not rows:
            return
        self._db.execute("BEGIN IMMEDIATE")
        for intent, body in rows:
            event = json.loads(body)
            event.update(kind="audit.outcome", time=self._clock(), intent=intent, outcome="unknown", status=None)
            self._insert(self._db, json.dumps(event, separators=(",", ":")))
        self._db.execute("DELETE FROM open_intent")
        self._db.execute("COMMIT")

    def _submit(self, job: Callable[[sqlite3.Connection], Any]) -> Future[Any]:
        future: Future[Any] = Future()
        with self._starting:
            if self._closed:
                future.set_exception(sqlite3.ProgrammingError("The queue of events is closed."))
                return future
            self._jobs.put((job, future))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="nagaya-outbox", daemon=True)
                self._thread.start()
        return future

    def _run(self) -> None:
        while (first := self._jobs.get()) is not None:
            jobs = [first]
            stop = False
            while len(jobs) < _BATCH and not self._jobs.empty():
                item = self._jobs.get()
                if item is None:
                    stop = True
                    break
                jobs.append(item)
            self._commit(jobs)
            if stop:
                return

    def _commit(self, jobs: list[tuple[Callable[[sqlite3.Connection], Any], Future[Any]]]) -> None:
        before = self._count
        results: list[Any] = []
        try:
            self._db.execute("BEGIN IMMEDIATE")
            results.extend(job(self._db) for job, _ in jobs)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            log.exception("The queue of events for the control plane could not be written.")
            self._count = before
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            for _, future in jobs:
                future.set_exception(error)
            return
        for (_, future), result in zip(jobs, results, strict=True):
            future.set_result(result)
        if self._count > before and self._on_append is not None:
            self._on_append()
