"""Bounds: requests in flight per upstream with a bounded queue, and connections in all and per address."""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from nagaya.gateway.answers import GatewayError


class Gate:
    """Lets at most `limit` requests through at once; at most `queue` more wait in order, the rest is refused."""

    __slots__ = ("_queue", "_waiting", "entered", "limit")

    def __init__(self, limit: int, queue: int) -> None:
        self.limit = limit
        self.entered = 0
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def in_flight(self) -> int:
        """Requests that are let through or wait: what must be zero before a tenant may be stopped."""
        return self.entered + len(self._waiting)

    @property
    def waiting(self) -> int:
        """Requests that wait for a place."""
        return len(self._waiting)

    def try_enter(self) -> bool:
        """Enter without waiting, if that is possible."""
        if self.entered < self.limit and not self._waiting:
            self.entered += 1
            return True
        return False

    async def enter(self, seconds: float) -> None:
        """Enter, waiting at most `seconds`; raises `GatewayError` (429) beyond the bounds."""
        if self.try_enter():
            return
        if len(self._waiting) >= self._queue:
            raise self._refusal()
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            async with asyncio.timeout(seconds):
                await future
        except BaseException as error:
            if future.done() and not future.cancelled():
                self.leave()  # The place was granted in the very moment in which the caller gave up.
            else:
                self._waiting.remove(future)
            if isinstance(error, TimeoutError):
                raise self._refusal() from None
            raise

    def leave(self) -> None:
        """Give the place back."""
        self.entered -= 1
        while self._waiting and self.entered < self.limit:
            future = self._waiting.popleft()
            if not future.done():
                self.entered += 1
                future.set_result(None)

    def _refusal(self) -> GatewayError:
        sentence = f"{self.limit} requests are already being served and the queue is full; try again in a moment."
        return GatewayError(429, "TooManyRequests", sentence, retry_after=1)


class ConnectionLimits:
    """Counts open connections."""

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._open: Counter[str] = Counter()
        self.count = 0

    def admit(self, address: str) -> bool:
        """Count a new connection in, or refuse it; without an `address` only the total counts."""
        if self.count >= self._total or (address and self._open[address] >= self._per_address):
            return False
        self.count += 1
        self._open[address] += 1
        return True

    def release(self, address: str) -> None:
        """Count an admitted connection out."""
        self.count -= 1
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]
