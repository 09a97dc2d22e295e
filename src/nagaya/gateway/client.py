"""One client connection: answers requests in order, with back-pressure, time-outs and orderly closing."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable
from typing import Protocol, cast

from nagaya.gateway.access_log import Log
from nagaya.gateway.answers import GatewayError, Reply, too_large_body
from nagaya.gateway.forward import Additions
from nagaya.gateway.limits import ConnectionLimits
from nagaya.gateway.metrics import GatewayMetrics
from nagaya.gateway.proxies import Proxies
from nagaya.gateway.reader import RequestReader
from nagaya.gateway.request import Request
from nagaya.gateway.settings import GatewaySettings
from nagaya.gateway.upstream import WRITE_BUFFER, UpstreamConnection


class Frontend(Protocol):
    """What a connection needs of the gateway."""

    settings: GatewaySettings
    log: Log
    limits: ConnectionLimits
    metrics: GatewayMetrics
    connections: set[ClientConnection]
    closing: bool
    """Whether it stops: connections are closed as soon as nothing goes on in them."""
    leaving: bool
    """Whether a successor serves: connections end with their next answer, which says so."""
    proxies: Proxies
    added: Additions

    def disconnected(self, client: ClientConnection) -> None:
        """A connection ended."""

    def handle(self, client: ClientConnection, request: Request) -> Awaitable[None]:
        """Answer one request on `client`."""

    def count(self, request: Request, status: int) -> None:
        """A request has ended with `status`; 0 if the client left before."""


class ClientConnection(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, frontend: Frontend, *, redirects: bool = False) -> None:
        self._frontend = frontend
        self.redirects = redirects
        """Whether it came by the port of plain HTTP that only shows the way to TLS."""
        self._settings = frontend.settings
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader(self, frontend.settings)
        self.transport: asyncio.Transport | None = None
        self.address = ""
        self.scheme: bytes | None = None
        """How the client speaks to us: `https`, or None, as nobody knows what is in front of plain HTTP."""
        self.behind_proxy = False
        """Whether the peer is a trusted proxy, which tells whose requests it passes on."""
        self.upstream: UpstreamConnection | None = None
        """The connection whose answer is being passed on, so that it can be paused."""
        self.answering = False
        """Whether bytes of an answer to the current request went out."""
        self.forwarded: tuple[object, bytes] = (None, b"")
        """The forwarding headers of the last Host value and caller: most connections only ever have one."""
        self.added = frontend.added
        self._sent = 0
        self._status = 0
        self._admitted = False
        self._counted = ""
        self._queue: deque[Request | GatewayError] = deque()
        self._current: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._lingering = False
        self._close_after = False
        self._interruption: GatewayError | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._deadline = math.inf
        self._write_deadline = math.inf

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection in, or refuse it."""
        transport = cast("asyncio.Transport", transport)  # uvloop's transports have its methods but not its type.
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) and peer else "unix"
        if transport.get_extra_info("ssl_object") is not None:
            self.scheme = b"https"
        elif self.redirects:
            self.scheme = b"http"
        self.behind_proxy = self._frontend.proxies.trusts(self.address)
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._frontend.connections.add(self)
        # A proxy is as many clients as are behind it: only the limit on all connections holds for it.
        self._counted = "" if self.behind_proxy else self.address
        self._admitted = self._frontend.limits.admit(self._counted)
        if self._admitted:
            self._wait_for_request()
        else:
            self._reader.stop()
            self._write_refusal(GatewayError(503, "TooManyConnections", "Too many connections are open.", 1))
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Read on, unless this connection is only being brought to its end."""
        reader = self._reader
        if not (reader.broken or self._lingering or (self._close_after and reader.parsing is None)):
            reader.feed(data)

    def eof_received(self) -> bool:
        """Clients that are gone look like this; one that still waits for an answer does not close its side."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop everything that was done for this client."""
        self.transport = None
        self._frontend.disconnected(self)
        if self._admitted:
            self._frontend.limits.release(self._counted)
        self._queue.clear()
        self._reader.stop()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """The client does not keep up: hold the upstream."""
        self._writable.clear()
        self._write_deadline = self._loop.time() + self._settings.stall_seconds
        if self.upstream is not None:
            self.upstream.pause()

    def resume_writing(self) -> None:
        """The client caught up."""
        self._writable.set()
        self._write_deadline = math.inf
        if self.upstream is not None:
            self.upstream.resume()

    # The reader's side.

    def request_started(self) -> None:
        """The time for a head begins to run."""
        if self._task is None:
            self._deadline = self._loop.time() + self._settings.header_seconds

    def request_ready(self, request: Request) -> None:
        """Answer it when its turn comes."""
        self._queue.append(request)
        self._run()

    def body_moved(self, request: Request) -> None:
        """The time for the next piece begins to run."""
        if request is self._current:
            self._deadline = self._loop.time() + self._settings.stall_seconds

    def request_complete(self, request: Request) -> None:
        """From now on it is the upstream that must hurry."""
        if request is self._current:
            self._deadline = math.inf if self.answering else self._loop.time() + self._settings.response_seconds

    def reading_broken(self, request: Request | None, error: GatewayError) -> None:
        """Answer what came before, then the error, then close."""
        if request is not None and request is self._current:
            self.interrupt(error)
            return
        if request is not None:
            self._queue.remove(request)
        self._queue.append(error)
        self._run()

    def queue_length(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    def steer_reading(self) -> None:
        """Pause or resume the socket as the reader wants it."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        pause = self._reader.wants_pause and not self._lingering
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
                    if not self._reader.feed_backlog():
                        break
                    continue
                if not self._writable.is_set():
                    await self._writable.wait()
                item = self._queue.popleft()
                if isinstance(item, GatewayError):
                    self._write_refusal(item)
                    self._linger()
                else:
                    await self._serve(item)
        finally:
            self._task = None
            self._current = None
        if self.transport is not None and not self._close_after:
            self.steer_reading()
            self._wait_for_request()

    async def _serve(self, request: Request) -> None:
        self._current = request
        self.answering = False
        self._sent = self._status = 0
        self._interruption = None
        incomplete = self._reader.parsing is request
        wait = self._settings.stall_seconds if incomplete else self._settings.response_seconds
        self._deadline = self._loop.time() + wait
        request.body.on_overflow = self._overflow
        request.address, request.scheme = self.address, self.scheme
        if self.behind_proxy:
            self._frontend.proxies.read(request, self.address)
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
        elif self._close_after and self.transport is not None:
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
        if not request.keep_alive or not request.body.complete:
            self._close_after = True
        if self._frontend.closing or self._frontend.leaving:
            self._close_after = True
        return self._close_after

    def answer_started(self, status: int) -> None:
        """The head of an answer goes out: the time-out for it ends."""
        self.answering = True
        self._status = status
        if self._current is None or self._current.body.complete:
            self._deadline = math.inf

    def write(self, pieces: list[bytes]) -> None:
        """Send bytes of an answer."""
        if self.transport is not None:
            self._sent += sum(map(len, pieces))
            self.transport.writelines(pieces)

    def send_reply(self, request: Request, reply: Reply, *, close: bool = False) -> None:
        """Send a complete answer made here."""
        self._close_after |= close
        close = self.must_close(request)
        self.answer_started(reply.status)
        head_only = request.method == b"HEAD"
        security = self.added.secure(request)
        self.write([reply.encode(request_id=request.request_id, head_only=head_only, close=close, added=security)])

    def send_error(self, request: Request, error: GatewayError) -> None:
        """Answer with an error; an answer that has begun can only be broken off."""
        self._frontend.metrics.refused(error.code)
        if self.answering:
            self.break_off()
            return
        envelope = request.route_class == "api"
        reply = error.reply(
            html=request.wants_html, request_id=request.request_id, envelope=envelope, origin=self.added.origin
        )
        self.send_reply(request, reply, close=error.close)

    def break_off(self) -> None:
        """Close in the middle of an answer, so that the client sees that it is incomplete."""
        self._close_after = True
        if self.transport is not None:
            self.transport.close()

    def _write_refusal(self, error: GatewayError) -> None:
        """Answer bytes that never became a request."""
        self._close_after = True
        self._frontend.metrics.refused(error.code)
        reply = error.reply(html=False, request_id=b"-")
        self.write([reply.encode(request_id=b"-", head_only=False, close=True)])
        self._frontend.log.write("refused", status=error.status, address=self.address, reason=error.sentence)

    def _linger(self) -> None:
        """Swallow what the client still sends: a reset would destroy the answer on its way."""
        if self.transport is None or self.transport.is_closing():
            return
        self._lingering = True
        self._close_after = True
        self._reader.stop()
        self._deadline = self._loop.time() + self._settings.linger_seconds
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.steer_reading()
        else:
            self.transport.close()

    def _log(self, request: Request) -> None:
        self._frontend.count(request, self._status)
        log = self._frontend.log
        if log.requests:
            log.request(request, self._status, self._sent)

    # Time.

    def _wait_for_request(self) -> None:
        if self._frontend.closing and self.transport is not None:
            self.transport.close()
        amid = self._reader.amid_head
        self._deadline = self._loop.time() + (self._settings.header_seconds if amid else self._settings.idle_seconds)

    def sweep(self, now: float) -> None:
        """Act on deadlines that have passed; `now` is the loop's time."""
        if self.transport is None:
            return
        if now >= self._write_deadline:
            self.transport.abort()  # The client does not read; there is no way to tell it.
        elif now >= self._deadline:
            self._expire(now, self.transport)

    def _expire(self, now: float, transport: asyncio.Transport) -> None:
        if self._lingering:
            transport.abort()
        elif self._current is None:
            if self._reader.amid_head:
                self._write_refusal(GatewayError(408, "RequestTimeout", "The request's head did not arrive in time."))
                self._linger()
            else:
                transport.close()
        elif self._current.body.complete:
            seconds = self._settings.response_seconds
            self.interrupt(GatewayError(504, "GatewayTimeout", f"There was no answer within {seconds:g} seconds.", 5))
        elif transport.is_reading():
            sentence = "The request's body did not arrive in time."
            self.interrupt(GatewayError(408, "RequestTimeout", sentence, close=True))
        else:
            self._deadline = now + self._settings.stall_seconds  # The upstream is slow, not the client.

    def shut_down(self) -> None:
        """The gateway stops: close now if nothing is going on, else after the current answer."""
        if self._current is None and not self._queue and self.transport is not None and not self._lingering:
            self.transport.close()
