"""The address for Prometheus: `GET /metrics` on a socket of its own, so that no client's request can reach it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

from nagaya.metrics.exposition import CONTENT_TYPE

_HEAD_BYTES = 16 * 1024
_HEAD_SECONDS = 5.0
_AT_ONCE = 4
"""Scrapes at the same time: each asks the neighbours anew."""


class MetricsDoor:
    """Answers scrapes.

    Args:
        render: Returns the exposition.
        token_sha256: Digest of the bearer token that is asked for; None: nobody is asked.
    """

    def __init__(self, render: Callable[[], Awaitable[bytes]], token_sha256: str | None) -> None:
        self._render, self._digest = render, token_sha256
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, listener: socket.socket) -> None:
        """Begin to accept connections."""
        self._server = await asyncio.start_server(self._accept, sock=listener, limit=_HEAD_BYTES)

    async def close(self) -> None:
        """Stop, and drop what is under way: whoever scrapes comes again."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            writer.write(await self._answer(head))
            await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # Whoever does not speak HTTP in time gets no answer.
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _answer(self, head: bytes) -> bytes:
        lines = head.split(b"\r\n")
        method, _, rest = lines[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if path != b"/metrics":
            return _response(404, b"Not Found", b"Only /metrics is served here.\n")
        if method not in {b"GET", b"HEAD"}:
            return _response(405, b"Method Not Allowed", b"Use GET.\n", b"Allow: GET, HEAD\r\n")
        if not self._admitted(lines[1:]):
            return _response(401, b"Unauthorized", b"The bearer token of NAGAYA_METRICS_TOKEN is needed.\n",
                             b"WWW-Authenticate: Bearer\r\n")  # fmt: skip
        async with self._slots:
            body = await self._render()
        return _response(200, b"OK", body, head_only=method == b"HEAD", kind=CONTENT_TYPE)

    def _admitted(self, headers: list[bytes]) -> bool:
        if self._digest is None:
            return True
        for line in headers:
            name, _, value = line.partition(b":")
            scheme, _, token = value.strip().partition(b" ")
            if name.strip().lower() == b"authorization" and scheme.lower() == b"bearer":
                with suppress(ValueError):
                    given = hashlib.sha256(token.strip()).hexdigest()
                    return hmac.compare_digest(given, self._digest)
        return False


def _response(
    status: int, reason: bytes, body: bytes, more: bytes = b"", *, head_only: bool = False, kind: bytes = b"text/plain"
) -> bytes:
    head = b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n" % (status, reason, kind, len(body))
    head += b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n" + more + b"\r\n"
    return head if head_only else head + body
