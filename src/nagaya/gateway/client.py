"""One client connection: the request parser, pipelining in order, back-pressure, time-outs, and orderly closing."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable
from typing import Protocol, cast

from httptools import HttpParserError, HttpRequestParser

from nagaya.gateway.access_log import Log
from nagaya.gateway.answers import GatewayError, Reply, bad_request
from nagaya.gateway.limits import ConnectionLimits
from nagaya.gateway.request import Request, RequestBody
from nagaya.gateway.settings import GatewaySettings
from nagaya.gateway.upstream import WRITE_BUFFER, UpstreamConnection

_HEAD_SLICE = 16 * 1024
_BODY_SLICE = 64 * 1024
_MAX_PIPELINED = 1000
_CHUNK_SLACK = 80 * 1024


class Frontend(Protocol):
    """What a connection needs of the gateway."""

    settings: GatewaySettings
    log: Log
    limits: ConnectionLimits
    connections: set[ClientConnection]
    closing: bool

    def handle(self, client: ClientConnection, request: Request) -> Awaitable[None]:
        """Answer one request on `client`."""


class ClientConnection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._settings = frontend.settings
        self._loop = asyncio.get_running_loop()
        self._parser = HttpRequestParser(self)
        self.transport: asyncio.Transport | None = None
        self.address = ""
        self.tls = False
        self.upstream: UpstreamConnection | None = None
        """The connection whose answer is being passed on, so that it can be paused."""
        self.answering = False
        """Whether bytes of an answer to the current request went out."""
        self.sent = 0
        self.status = 0
        self.forwarded: tuple[bytes, bytes] = (b"", b"")
        """The forwarding headers of the last Host value: most connections only ever use one."""
        self._admitted = False
        self._queue: deque[Request | GatewayError] = deque()
        self._current: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._parsing: Request | None = None
        self._head_done = False
        self._raw = 0
        self._backlog: deque[bytes] = deque()
        self._broken = False
        self._lingering = False
        self._close_after = False
        self._paused_by_body = False
        self._interruption: GatewayError | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self.deadline = math.inf
        self.write_deadline = math.inf

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's transports have its methods but not its type.
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) and peer else "unix"
        self.tls = transport.get_extra_info("ssl_object") is not None
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._frontend.connections.add(self)
        self._admitted = self._frontend.limits.admit(self.address)
        if self._admitted:
            self._wait_for_request()
        else:
            self._broken = True
            self._write_refusal(
                GatewayError(503, "TooManyConnections", "Too many connections are open.", retry_after=1)
            )
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self._broken or self._lingering or (self._close_after and self._parsing is None):
            return
        if self._backlog:
            self._backlog.append(data)
            return
        self._feed(data)

    def eof_received(self) -> bool:
        """Clients that are gone look like this; one that still waited for an answer would not close its side."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._frontend.connections.discard(self)
        if self._admitted:
            self._frontend.limits.release(self.address)
        self._backlog.clear()
        self._queue.clear()
        if self._parsing is not None:
            self._parsing.body.abandon()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()
        self.write_deadline = self._loop.time() + self._settings.stall_seconds
        if self.upstream is not None:
            self.upstream.pause()

    def resume_writing(self) -> None:
        self._writable.set()
        self.write_deadline = math.inf
        if self.upstream is not None:
            self.upstream.resume()

    # Reading requests.

    def _feed(self, data: bytes) -> None:
        """Parse piece by piece, so that neither heads nor pipelined requests can pile up without bound."""
        view = memoryview(data)
        offset = 0
        while offset < len(view):
            if self._broken or self._lingering:
                return
            if len(self._queue) >= 1 and (self._parsing is None or not self._head_done):
                self._backlog.append(bytes(view[offset:]))
                self._steer_reading()
                return
            in_body = self._head_done
            piece = view[offset : offset + (_BODY_SLICE if in_body else _HEAD_SLICE)]
            offset += len(piece)
            if not in_body and self._parsing is None and self._task is None:
                self.deadline = self._loop.time() + self._settings.header_seconds
            self._raw += len(piece)
            try:
                self._parser.feed_data(piece)
                self._check_sizes()
            except HttpParserError as error:
                cause = error.__context__
                self._break(
                    cause if isinstance(cause, GatewayError) else bad_request(f"This is not valid HTTP: {error}.")
                )
            except GatewayError as error:
                self._break(error)

    def _check_sizes(self) -> None:
        if not self._head_done:
            if self._raw > self._settings.max_head_bytes + _HEAD_SLICE:
                raise self._too_large()
        elif self._parsing is not None and self._raw > _CHUNK_SLACK + 16 * self._parsing.body.received:
            raise bad_request("The body's chunks carry far more overhead than content.")

    def _too_large(self) -> GatewayError:
        limit = self._settings.max_head_bytes
        return GatewayError(
            431, "HeadersTooLarge", f"The request's head exceeds {limit} bytes or too many headers.", close=True
        )

    def _break(self, error: GatewayError) -> None:
        """Nothing that follows on this connection can be understood any more."""
        self._broken = True
        self._backlog.clear()
        request, self._parsing = self._parsing, None
        if request is not None and self._head_done and request is self._current:
            self.interrupt(error)
            return
        if request is not None and self._head_done and request in self._queue:
            self._queue.remove(request)
        self._queue.append(error)
        self._run()

    def on_message_begin(self) -> None:
        """A new request starts."""
        if len(self._queue) >= _MAX_PIPELINED:
            raise bad_request("Too many requests were sent ahead without waiting for answers.")
        self._parsing = Request(RequestBody(self._pause_body, self._resume_body), self._loop.time())
        self._head_done = False

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        request = self._parsing
        assert request is not None
        request.target += url
        if len(request.target) > self._settings.max_target_bytes:
            raise bad_request(f"The request target is longer than {self._settings.max_target_bytes} bytes.", 414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line, or a trailer, which is dropped."""
        request = self._parsing
        if request is None or self._head_done:
            return
        request.size += len(name) + len(value) + 4
        if request.size > self._settings.max_head_bytes or len(request.headers) >= self._settings.max_headers:
            raise self._too_large()
        request.add_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: check it and hand the request over, its body follows."""
        request = self._parsing
        assert request is not None
        request.method = self._parser.get_method()
        request.version = self._parser.get_http_version()
        request.keep_alive = request.version == "1.1" and self._parser.should_keep_alive()
        request.check_head()
        if self._parser.should_upgrade():
            raise GatewayError(
                501, "NotImplemented", "Protocol upgrades such as WebSocket are not supported here.", close=True
            )
        self._head_done = True
        self._raw = 0
        if self._current is None:
            self.deadline = self._loop.time() + self._settings.stall_seconds
        self._queue.append(request)
        self._run()

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self._parsing is not None:
            if self._parsing is self._current:
                self.deadline = self._loop.time() + self._settings.stall_seconds
            self._parsing.body.feed(data)

    def on_message_complete(self) -> None:
        """The request is complete."""
        request, self._parsing = self._parsing, None
        self._head_done = False
        self._raw = 0
        if request is not None:
            if request is self._current:
                self.deadline = math.inf if self.answering else self._loop.time() + self._settings.response_seconds
            request.body.finish()

    def _pause_body(self) -> None:
        self._paused_by_body = True
        self._steer_reading()

    def _resume_body(self) -> None:
        if self._paused_by_body:
            self._paused_by_body = False
            self._steer_reading()

    def _steer_reading(self) -> None:
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        pause = (self._paused_by_body or bool(self._backlog)) and not self._lingering
        if pause and transport.is_reading():
            transport.pause_reading()
        elif not pause and not transport.is_reading():
            transport.resume_reading()

    # Answering.

    def _run(self) -> None:
        if self._task is None:
            self._task = self._loop.create_task(self._work())

    async def _work(self) -> None:
        """Answer what is queued, one after the other."""
        try:
            while self.transport is not None and not self._close_after:
                if not self._queue:
                    if not self._backlog:
                        break
                    self._feed(self._backlog.popleft())
                    continue
                if not self._writable.is_set():
                    await self._writable.wait()
                item = self._queue.popleft()
                if isinstance(item, GatewayError):
                    self._refuse(item)
                    return
                await self._serve(item)
        finally:
            self._task = None
            self._current = None
        if self.transport is not None and not self._close_after and not self._lingering:
            self._steer_reading()
            if self._parsing is None:
                self._wait_for_request()
            else:
                self.deadline = self._loop.time() + self._settings.header_seconds

    async def _serve(self, request: Request) -> None:
        self._current = request
        self.answering = False
        self.sent = self.status = 0
        self._interruption = None
        wait = self._settings.stall_seconds if self._parsing is request else self._settings.response_seconds
        self.deadline = self._loop.time() + wait
        request.body.on_overflow = self._overflow
        try:
            await self._frontend.handle(self, request)
        except asyncio.CancelledError:
            reason = self._reason()
            if reason is None:
                self._log(request)
                raise
            self.send_error(request, reason)
        except Exception as error:
            # Whatever went wrong concerns this one request; the process must go on.
            self._frontend.log.write("error", request_id=request.request_id.decode(), error=repr(error))
            failure = GatewayError(500, "InternalError", "The gateway failed to handle this request.", close=True)
            self.send_error(request, failure)
        self._conclude(request)

    def _reason(self) -> GatewayError | None:
        """Why the work was interrupted; None if the client went away."""
        return self._interruption if self.transport is not None else None

    def _conclude(self, request: Request) -> None:
        self._current = None
        self._log(request)
        if not request.body.complete:
            request.body.abandon()
            self._linger()
        elif self._close_after and self.transport is not None and not self._lingering:
            self.transport.close()

    def interrupt(self, error: GatewayError) -> None:
        """End the work on the current request with `error`."""
        if self._task is not None and self._current is not None and self._interruption is None:
            self._interruption = error
            self._task.cancel()

    def _overflow(self) -> None:
        if self._current is not None and self._current.body.limit is not None:
            self.interrupt(too_large_body(self._current.body.limit))

    def must_close(self, request: Request) -> bool:
        """Whether the answer to `request` is the last on this connection; once said, it stays so."""
        if not request.keep_alive or not request.body.complete or self._frontend.closing:
            self._close_after = True
        return self._close_after

    def answer_started(self, status: int) -> None:
        """The head of an answer goes out: the time-out for it ends."""
        self.answering = True
        self.status = status
        if self._parsing is None or self._parsing is not self._current:
            self.deadline = math.inf

    def write(self, data: bytes) -> None:
        """Send bytes of an answer."""
        if self.transport is not None:
            self.sent += len(data)
            self.transport.write(data)

    def write_chunk(self, data: bytes) -> None:
        """Send a piece of a chunked answer."""
        if self.transport is not None:
            self.sent += len(data)
            self.transport.writelines([b"%x\r\n" % len(data), data, b"\r\n"])

    def send_reply(self, request: Request, reply: Reply, *, close: bool = False) -> None:
        """Send a complete answer made here."""
        if close:
            self._close_after = True
        close = self.must_close(request)
        self.answer_started(reply.status)
        self.write(reply.encode(request_id=request.request_id, head_only=request.method == b"HEAD", close=close))

    def send_error(self, request: Request, error: GatewayError) -> None:
        """Answer with an error; an answer that has begun can only be broken off."""
        if self.answering:
            self.break_off()
            return
        reply = error.reply(html=request.wants_html, request_id=request.request_id)
        self.send_reply(request, reply, close=error.close)

    def break_off(self) -> None:
        """Close in the middle of an answer, so that the client sees that it is incomplete."""
        self._close_after = True
        if self.transport is not None:
            self.transport.close()

    def _refuse(self, error: GatewayError) -> None:
        """Answer bytes that never became a request."""
        self._write_refusal(error)
        self._linger()

    def _write_refusal(self, error: GatewayError) -> None:
        self._close_after = True
        reply = error.reply(html=False, request_id=b"-")
        self.write(reply.encode(request_id=b"-", head_only=False, close=True))
        self._frontend.log.write("refused", status=error.status, address=self.address, reason=error.sentence)

    def _linger(self) -> None:
        """Send what is to be sent, then swallow what the client still sends: a reset would destroy the answer on its way."""
        if self.transport is None or self._lingering or self.transport.is_closing():
            return
        self._lingering = True
        self._close_after = True
        self._backlog.clear()
        self.deadline = self._loop.time() + self._settings.linger_seconds
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._steer_reading()
        else:
            self.transport.close()

    def _log(self, request: Request) -> None:
        log = self._frontend.log
        if log.requests:
            log.write(
                "request",
                request_id=request.request_id.decode(),
                tenant=request.tenant_id,
                route=request.route_class,
                method=request.method.decode(),
                path=request.target.partition(b"?")[0][:256].decode("latin-1"),
                status=self.status,
                ms=round((self._loop.time() - request.started) * 1000, 2),
                received=request.body.received,
                sent=self.sent,
            )

    # Time.

    def _wait_for_request(self) -> None:
        if self._frontend.closing and self.transport is not None:
            self.transport.close()
        self.deadline = self._loop.time() + self._settings.idle_seconds

    def sweep(self, now: float) -> None:
        """Act on deadlines that have passed."""
        if self.transport is None:
            return
        if now >= self.write_deadline:
            self.transport.abort()  # The client does not read; there is no way to tell it.
        elif now >= self.deadline:
            self._expire(now)

    def _expire(self, now: float) -> None:
        assert self.transport is not None
        if self._lingering:
            self.transport.abort()
        elif self._current is not None:
            if self._parsing is self._current and not self.transport.is_reading():
                self.deadline = now + self._settings.stall_seconds  # The upstream is slow, not the client.
            elif self._parsing is self._current:
                self.interrupt(
                    GatewayError(408, "RequestTimeout", "The request's body did not arrive in time.", close=True)
                )
            else:
                seconds = self._settings.response_seconds
                self.interrupt(
                    GatewayError(504, "GatewayTimeout", f"There was no answer within {seconds:g} seconds.", close=True)
                )
        elif self._parsing is not None or self._raw:
            self._broken = True
            self._refuse(GatewayError(408, "RequestTimeout", "The request's head did not arrive in time.", close=True))
        else:
            self.transport.close()

    def shut_down(self) -> None:
        """The gateway stops: close now if nothing is going on, else after the current answer."""
        if self._current is None and not self._queue and self.transport is not None and not self._lingering:
            self.transport.close()


def too_large_body(limit: int) -> GatewayError:
    """The refusal of a body beyond `limit` bytes."""
    return GatewayError(413, "ContentTooLarge", f"The request's body exceeds the limit of {limit} bytes.", close=True)
