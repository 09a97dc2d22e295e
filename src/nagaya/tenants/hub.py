"""Keeps the open streams of tenants' channels and gives each of them the newest policy, whole or as a delta."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import contextmanager
from typing import Any

from nagaya.access.compiler import Document

DELTA_KEYS = ("schema", "tenant", "organization", "issuer", "jwks", "roles", "limits")
"""Parts of a document that a delta cannot change; a difference there sends the whole document."""


class Stream:
    """One open stream. It holds only the newest document, so that a slow reader costs no memory and misses nothing.

    Args:
        version: The version that the tenant has.
    """

    def __init__(self, version: int) -> None:
        self._known: Document | None = None
        self._version = version
        self._next: Document | None = None
        self._changed = asyncio.Event()
        self._closed = False

    def offer(self, document: Document) -> None:
        """Makes a document the next to be sent, unless a newer one is."""
        newest = max(self._version, self._next["version"] if self._next is not None else -1)
        if document["version"] > newest:
            self._next = document
            self._changed.set()

    def close(self) -> None:
        """Ends the stream after what was offered."""
        self._closed = True
        self._changed.set()

    async def messages(self, ping_seconds: float, clock: Any) -> AsyncIterator[dict[str, Any]]:
        """Yields what is to be written, and a ping whenever nothing was for a while; ends after `close`.

        Args:
            ping_seconds: Longest silence.
            clock: Returns the current Unix time in seconds.
        """
        while True:
            if self._next is not None:
                document, self._next = self._next, None
                yield self._message(document)
                continue
            if self._closed:
                return
            self._changed.clear()
            try:
                async with asyncio.timeout(ping_seconds):
                    await self._changed.wait()
            except TimeoutError:
                yield {"type": "ping", "time": clock()}

    def _message(self, document: Document) -> dict[str, Any]:
        known, self._known, self._version = self._known, document, document["version"]
        if known is None or any(known[key] != document[key] for key in DELTA_KEYS):
            return {"type": "policy", "policy": document}
        return {"type": "delta", **delta(known, document)}


def delta(old: Document, new: Document) -> dict[str, Any]:
    """Returns what `nagaya_policy.apply_delta` needs to make `new` out of `old`."""
    return {
        "base": old["version"],
        "version": new["version"],
        "issued_at": new["issued_at"],
        "principals": _changes(old["principals"], new["principals"]),
        "revoked_sessions": _changes(old["revoked_sessions"], new["revoked_sessions"]),
    }


def _changes(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    changed = {key: value for key, value in new.items() if old.get(key) != value}
    return changed | {key: None for key in old if key not in new}


class Hub:
    """All open streams of this process. Used on the event loop only."""

    def __init__(self) -> None:
        self._streams: dict[uuid.UUID, set[Stream]] = defaultdict(set)
        self._closed = False

    @contextmanager
    def open(self, tenant_id: uuid.UUID, version: int) -> Any:
        """Registers a stream for the length of the block and returns it.

        Args:
            tenant_id: The tenant.
            version: The version of the policy that it has.
        """
        stream = Stream(version)
        if self._closed:
            stream.close()
        self._streams[tenant_id].add(stream)
        try:
            yield stream
        finally:
            self._streams[tenant_id].discard(stream)
            if not self._streams[tenant_id]:
                del self._streams[tenant_id]

    @property
    def count(self) -> int:
        """How many tenants have an open stream."""
        return len(self._streams)

    def listening(self, tenant_ids: Iterable[uuid.UUID]) -> list[uuid.UUID]:
        """Returns those of the tenants that have an open stream."""
        return [each for each in tenant_ids if each in self._streams]

    def publish(self, documents: dict[uuid.UUID, Document]) -> None:
        """Offers documents to the streams of their tenants."""
        for tenant_id, document in documents.items():
            for stream in self._streams.get(tenant_id, ()):
                stream.offer(document)

    def close(self) -> None:
        """Ends all streams, and those that are opened later at once."""
        self._closed = True
        for streams in self._streams.values():
            for stream in streams:
                stream.close()
