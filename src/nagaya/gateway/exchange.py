"""One request on its way through: passes it to an upstream and the answer back, with one transparent second attempt."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from nagaya.gateway.answers import GatewayError
from nagaya.gateway.client import ClientConnection
from nagaya.gateway.forward import AnswerHead, answer_head
from nagaya.gateway.pool import Pools
from nagaya.gateway.request import IDEMPOTENT_METHODS, Request
from nagaya.gateway.upstream import UpstreamConnection, UpstreamError

_CONNECT_SECONDS = 5.0
# A kept connection may be closed by the other side at the very moment in which it is used; what must not be sent twice
# goes over a connection that was used a moment ago or over a new one, which costs a tenth of a millisecond.
_FRESH_SECONDS = 1.0
# Between a tenant's death and the keeper's notice of it lie milliseconds; a start takes longer on a busy machine.
_REFUSED_SECONDS = 10.0
_REFUSED_PAUSE = 0.05


class Exchange:
    """One attempt at one upstream; the receiver of its answer."""

    __slots__ = ("_chunk", "_client", "_connection", "_done", "_from_tenant", "_ready", "_request", "status")

    def __init__(self, client: ClientConnection, request: Request, *, from_tenant: bool) -> None:
        self._client = client
        self._request = request
        self._from_tenant = from_tenant
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection: UpstreamConnection | None = None
        self._chunk = False
        self._ready: list[bytes] = []
        self.status = 0

    async def run(self, connection: UpstreamConnection, head: bytes) -> None:
        """Send the request and pass the answer on; raises `UpstreamError` if that fails."""
        client, request = self._client, self._request
        self._connection = connection
        try:
            connection.start(self, head, is_head=request.method == b"HEAD", chunked=request.chunked)
            client.upstream = connection
            if request.expects_continue and not request.body.received and not request.body.complete:
                request.expects_continue = False
                client.write([b"HTTP/1.1 100 Continue\r\n\r\n"])
            request.body.attach(connection)
            await self._done
        except BaseException:
            connection.abort()
            raise
        finally:
            client.upstream = None
            request.body.detach()

    def answer_head(self, head: AnswerHead) -> None:
        """Pass the head on."""
        client, request = self._client, self._request
        self.status = head.status
        unframed = not head.bodyless and head.content_length is None
        self._chunk = unframed and request.version == "1.1"
        close = client.must_close(request)
        block = answer_head(head, request, client.added, from_tenant=self._from_tenant, chunk=self._chunk, close=close)
        client.answer_started(head.status)
        self._ready.append(block)

    def answer_body(self, data: bytes) -> None:
        """Pass a piece of the body on."""
        if self._chunk:
            self._ready += (b"%x\r\n" % len(data), data, b"\r\n")
        else:
            self._ready.append(data)

    def answer_pause(self) -> None:
        """Send what came with one read of the upstream as one write: a system call is dearer than a list."""
        if self._ready:
            self._client.write(self._ready)
            self._ready = []

    def answer_end(self) -> None:
        """The answer is complete."""
        if self._chunk:
            self._ready.append(b"0\r\n\r\n")
        self.answer_pause()
        if not self._done.done():
            self._done.set_result(None)

    def answer_failed(self, error: UpstreamError) -> None:
        """The answer will not be completed."""
        self.answer_pause()
        if not self._done.done():
            self._done.set_exception(error)

    def hold_body(self) -> None:
        """The upstream cannot take more of the body."""
        self._request.body.hold()

    def proceed_body(self) -> None:
        """The upstream takes more of the body."""
        self._request.body.proceed()


async def forward(
    client: ClientConnection,
    request: Request,
    pools: Pools,
    path: str,
    head: bytes,
    *,
    from_tenant: bool,
    again: Callable[[], Awaitable[str]],
) -> int:
    """Pass `request` to the socket `path` and the answer to `client`; returns the answer's status.

    If the upstream goes away before any byte of an answer, the request is sent once more, to the socket that `again`
    names, provided that repeating is harmless. A tenant that refuses connections has just died and is being started
    again, which takes a moment: then `again` is asked until it names one that answers. Raises `GatewayError` (502) if
    there is no answer.
    """
    idempotent = request.method in IDEMPOTENT_METHODS
    retried = False
    patience = asyncio.get_running_loop().time() + _REFUSED_SECONDS
    while True:
        connection: UpstreamConnection | None = None
        exchange = Exchange(client, request, from_tenant=from_tenant)
        try:
            connection = None if retried else pools.get(path).take(math.inf if idempotent else _FRESH_SECONDS)
            if connection is None:
                connection = await pools.get(path).connect(_CONNECT_SECONDS)
            await exchange.run(connection, head)
        except UpstreamError as error:
            if client.answering:
                client.break_off()
                return exchange.status
            refused = from_tenant and connection is None and request.body.replayable
            if refused and asyncio.get_running_loop().time() < patience:
                retried = True
                await asyncio.sleep(_REFUSED_PAUSE)
                path = await again()
                continue
            if retried or not error.silent or not request.body.replayable or not (idempotent or error.unused):
                raise _bad_gateway(error, idempotent=idempotent) from error
            retried = True
            path = await again()
        else:
            pools.get(path).give_back(connection)
            return exchange.status


def _bad_gateway(error: UpstreamError, *, idempotent: bool) -> GatewayError:
    doubt = "" if idempotent or error.unused else " It may or may not have carried out the request."
    return GatewayError(502, "BadGateway", f"The server behind the gateway failed. {error}{doubt}")
