"""Kept connections to upstreams over unix sockets, the most recently used first."""

from __future__ import annotations

import asyncio

from nagaya.gateway.upstream import UpstreamConnection, UpstreamError
from nagaya.metrics.registry import Counter


class Pool:
    """Kept connections of one socket."""

    def __init__(self, path: str, size: int, max_idle: float, connects: Counter | None = None) -> None:
        self.path = path
        self._connects = connects
        self._size = size
        self._max_idle = max_idle
        self._idle: list[UpstreamConnection] = []

    def take(self, max_idle: float) -> UpstreamConnection | None:
        """The most recently used connection that is at most `max_idle` seconds old, or None."""
        now = asyncio.get_running_loop().time()
        while self._idle:
            connection = self._idle.pop()
            if connection.closing:
                continue
            if now - connection.idle_since > min(max_idle, self._max_idle):
                connection.abort()
                continue
            return connection
        return None

    async def connect(self, seconds: float) -> UpstreamConnection:
        """A fresh connection; raises `UpstreamError` when nobody listens."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                _, connection = await loop.create_unix_connection(UpstreamConnection, self.path)
        except (OSError, TimeoutError) as error:
            self._count("refused")
            raise UpstreamError(f"Nobody answers there ({error or 'timed out'}).", unused=True, silent=True) from error
        self._count("connected")
        return connection

    def _count(self, outcome: str) -> None:
        if self._connects is not None:
            self._connects.inc(outcome)

    def give_back(self, connection: UpstreamConnection) -> None:
        """Keep a connection for the next exchange, or close it."""
        if connection.reusable and len(self._idle) < self._size:
            connection.idle_since = asyncio.get_running_loop().time()
            self._idle.append(connection)
        else:
            connection.abort()

    def sweep(self, now: float) -> None:
        """Close what was idle for too long."""
        while self._idle and (self._idle[0].closing or now - self._idle[0].idle_since > self._max_idle):
            self._idle.pop(0).abort()

    def close(self) -> None:
        """Close all kept connections."""
        while self._idle:
            self._idle.pop().abort()

    @property
    def idle(self) -> int:
        """How many connections are kept."""
        return len(self._idle)


class Pools:
    """The pools of all sockets."""

    def __init__(self, size: int, max_idle: float, connects: Counter | None = None) -> None:
        self._connects = connects
        self._size = size
        self._max_idle = max_idle
        self._pools: dict[str, Pool] = {}

    def get(self, path: str) -> Pool:
        """The pool of a socket."""
        pool = self._pools.get(path)
        if pool is None:
            pool = self._pools[path] = Pool(path, self._size, self._max_idle, self._connects)
        return pool

    @property
    def idle(self) -> int:
        """How many connections are kept."""
        return sum(pool.idle for pool in self._pools.values())

    def drop(self, path: str) -> None:
        """The process behind the socket went or is about to go."""
        pool = self._pools.pop(path, None)
        if pool is not None:
            pool.close()

    def sweep(self, now: float) -> None:
        """Close what was idle for too long and forget empty pools."""
        for path, pool in list(self._pools.items()):
            pool.sweep(now)
            if not pool.idle:
                del self._pools[path]

    def close(self) -> None:
        """Close everything that is kept."""
        for path in list(self._pools):
            self.drop(path)
