"""Short calls of the gateway's own to a neighbour over its unix socket, each on a connection of its own."""

from __future__ import annotations

import asyncio

from nagaya.gateway.forward import AnswerHead
from nagaya.gateway.pool import Pool
from nagaya.gateway.upstream import UpstreamError

_MAX_ANSWER = 256 * 1024


class _Collected:
    """Gathers one answer."""

    def __init__(self) -> None:
        self.status = 0
        self.body = bytearray()
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answer_head(self, head: AnswerHead) -> None:
        self.status = head.status

    def answer_body(self, data: bytes) -> None:
        self.body += data
        if len(self.body) > _MAX_ANSWER:
            self.answer_failed(UpstreamError("The answer is too large."))

    def answer_pause(self) -> None:
        """Nothing is passed on before the end."""

    def answer_end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)

    def answer_failed(self, error: UpstreamError) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def hold_body(self) -> None:
        """The few bytes that are sent fit into the socket's buffer."""

    def proceed_body(self) -> None:
        """See `hold_body`."""


async def call(path: str, method: bytes, target: bytes, body: bytes = b"", *, seconds: float) -> tuple[int, bytes]:
    """Make one request to the socket `path`, a JSON `body` if given; returns status and body.

    Raises `UpstreamError` when there is no complete answer within `seconds`.
    """
    head = b"%s %s HTTP/1.1\r\nHost: internal\r\nConnection: close\r\n" % (method, target)
    if body:
        head += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
    try:
        async with asyncio.timeout(seconds):
            connection = await Pool(path, 0, 0).connect(seconds)
            collected = _Collected()
            try:
                connection.start(collected, head + b"\r\n" + body, is_head=False, chunked=False)
                connection.end_body()
                await collected.done
            finally:
                connection.abort()
    except TimeoutError as error:
        raise UpstreamError(f"There was no answer within {seconds:g} seconds.") from error
    return collected.status, bytes(collected.body)
