"""One request as the client sent it: its checked head, and its body on the way to the upstream with bounded memory."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Protocol

from nagaya.gateway.answers import GatewayError, bad_request

METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
SAFE_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS"})
# RFC 9110 section 9.2.2: repeating these has no further effect.
IDEMPOTENT_METHODS = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"})

BUFFER_BYTES = 64 * 1024
"""Bytes of a body that are held while there is no upstream yet, and up to which a body can be sent a second time."""

# Two of one of these can be understood in two ways, which is what request smuggling is made of.
_SINGULAR = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"authorization", b"origin", b"expect", b"content-type",
     b"sec-fetch-site", b"sec-fetch-mode", b"x-nagaya-csrf", b"upgrade"}
)  # fmt: skip
_LENGTH = re.compile(rb"[0-9]{1,15}\Z")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9_.:-]{1,64}\Z")


class BodySink(Protocol):
    """Where a body goes: a connection to an upstream."""

    def write_body(self, data: bytes) -> None:
        """Send a piece."""

    def end_body(self) -> None:
        """The body is complete."""


class RequestBody:
    """A body on its way. Holds at most `BUFFER_BYTES` and one read; `pause` and `resume` steer the client's socket."""

    __slots__ = (
        "_chunks",
        "_pause",
        "_resume",
        "_sink",
        "complete",
        "discard",
        "limit",
        "on_overflow",
        "received",
        "replayable",
    )

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pause = pause
        self._resume = resume
        self._chunks: list[bytes] = []
        self._sink: BodySink | None = None
        self.received = 0
        self.complete = False
        self.discard = False
        self.replayable = True
        self.limit: int | None = None
        self.on_overflow: Callable[[], None] | None = None

    def feed(self, data: bytes) -> None:
        """Take a piece from the client."""
        self.received += len(data)
        if self.discard:
            return
        if self.limit is not None and self.received > self.limit:
            self.abandon()
            if self.on_overflow is not None:
                self.on_overflow()
            return
        if self._sink is None:
            self._chunks.append(data)
            if self.received > BUFFER_BYTES:
                self._pause()
            return
        if self.replayable:
            if self.received <= BUFFER_BYTES:
                self._chunks.append(data)
            else:
                self._forget()
        self._sink.write_body(data)

    def finish(self) -> None:
        """The client sent everything."""
        self.complete = True
        if self._sink is not None:
            self._sink.end_body()

    def attach(self, sink: BodySink) -> None:
        """Send what is there, and from now on everything that comes, to `sink`."""
        self._sink = sink
        self._resume()
        for data in self._chunks:
            sink.write_body(data)
        if self.received > BUFFER_BYTES:
            self._forget()
        if self.complete:
            sink.end_body()

    def detach(self) -> None:
        """The upstream is gone; keep what can still be sent again."""
        self._sink = None
        self._resume()

    def abandon(self) -> None:
        """Nobody wants the rest."""
        self._sink = None
        self.discard = True
        self._forget()
        self._resume()

    def hold(self) -> None:
        """The upstream cannot take more at the moment."""
        self._pause()

    def proceed(self) -> None:
        """The upstream takes more again."""
        self._resume()

    def _forget(self) -> None:
        self._chunks.clear()
        self.replayable = False


class Request:
    """The head of a request, filled by the parser's callbacks and then checked once."""

    __slots__ = (
        "_values", "address", "body", "chunked", "content_length", "expects_continue", "headers", "host", "keep_alive",
        "method", "page", "request_id", "route_class", "scheme", "size", "started", "target", "tenant_id", "version",
    )  # fmt: skip

    def __init__(self, body: RequestBody) -> None:
        self.body = body
        self.started = time.perf_counter()
        self.method = b""
        self.target = b""
        self.version = "1.1"
        self.headers: list[tuple[bytes, bytes, bytes]] = []
        self.size = 0
        self.keep_alive = False
        self.chunked = False
        self.content_length: int | None = None
        self.expects_continue = False
        self.request_id = b""
        self.tenant_id: str | None = None
        self.route_class = "gateway"
        self.address = ""
        """Whose request it is: the peer's address, or the client's that a trusted proxy names."""
        self.scheme: bytes | None = None
        """How the client spoke, if that is known."""
        self.host: bytes | None = None
        """The host that a trusted proxy names instead of the Host header."""
        self.page = False
        """Whether a tenant's page of documentation is asked for."""
        self._values: dict[bytes, bytes] = {}

    def add_header(self, name: bytes, value: bytes) -> None:
        """Take one header line; raises `GatewayError` for a second line of a header that may occur once."""
        lowered = name.lower()
        if lowered in self._values:
            if lowered in _SINGULAR:
                raise bad_request(f"The header {name.decode('latin-1')} must not be sent twice.")
            separator = b"; " if lowered == b"cookie" else b", "
            self._values[lowered] += separator + value
        else:
            self._values[lowered] = value
        self.headers.append((lowered, name, value))

    def get(self, name: bytes) -> bytes | None:
        """The value of a header by its lower-case name; several lines are joined as RFC 9110 section 5.3 says."""
        return self._values.get(name)

    @property
    def has_body(self) -> bool:
        """Whether the head announces a body."""
        return self.chunked or bool(self.content_length)

    @property
    def wants_html(self) -> bool:
        """Whether a browser asks for a page."""
        return self.method in {b"GET", b"HEAD"} and b"text/html" in (self.get(b"accept") or b"")

    def assign_id(self) -> None:
        """Keep the client's request id if it is well-formed, else make one."""
        given = self.get(b"x-request-id")
        valid = given is not None and _REQUEST_ID.match(given) is not None
        self.request_id = given if valid and given is not None else os.urandom(16).hex().encode()

    def check_head(self) -> None:
        """Check version, method and framing (RFC 9112 sections 3 and 6); raises `GatewayError`."""
        self.assign_id()
        if self.version not in {"1.0", "1.1"}:
            raise bad_request("Only HTTP/1.0 and HTTP/1.1 are spoken here.", 505)
        if self.method not in METHODS:
            raise bad_request("This method is not supported.", 405 if self.method in {b"TRACE", b"CONNECT"} else 501)
        if self.get(b"host") is None and self.version == "1.1":
            raise bad_request("An HTTP/1.1 request must carry exactly one Host header.")
        self._check_framing()
        expect = self.get(b"expect")
        if expect is not None:
            if expect.strip().lower() != b"100-continue":
                raise GatewayError(417, "ExpectationFailed", "Only 'Expect: 100-continue' is understood.", close=True)
            self.expects_continue = self.version == "1.1"

    def _check_framing(self) -> None:
        encoding, length = self.get(b"transfer-encoding"), self.get(b"content-length")
        if encoding is not None:
            if length is not None:
                raise bad_request("Content-Length and Transfer-Encoding must not be sent together.")
            if encoding.strip().lower() != b"chunked":
                raise bad_request("The only transfer encoding that is understood is 'chunked'.", 501)
            if self.version == "1.0":
                raise bad_request("HTTP/1.0 knows no Transfer-Encoding.")
            self.chunked = True
        elif length is not None:
            if _LENGTH.match(length) is None:
                raise bad_request("Content-Length must be a plain decimal number.")
            self.content_length = int(length)
