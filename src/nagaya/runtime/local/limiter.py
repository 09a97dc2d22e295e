"""How many tenants may be starting at once: a fair queue with an end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nagaya.runtime.interface import RuntimeFailure


class WakeLimiter:
    """At most `limit` at once and `queue` waiting; whoever comes then is told to come back."""

    def __init__(self, limit: int, queue: int) -> None:
        self._semaphore = asyncio.Semaphore(limit)
        self.running = 0
        self._queue = queue
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return self._waiting

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold a place while a tenant starts. Raises RuntimeFailure `busy` when too many wait already."""
        if self._semaphore.locked() and self._waiting >= self._queue:
            raise RuntimeFailure("busy", "Too many tenants are starting at the moment; try again in 2 seconds.")
        self._waiting += 1
        try:
            await self._semaphore.acquire()
        finally:
            self._waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._semaphore.release()
