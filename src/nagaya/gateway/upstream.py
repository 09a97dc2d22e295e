"""One connection to an upstream: sends requests, parses answers, and refuses to pass on what breaks HTTP's rules."""

from __future__ import annotations

import asyncio
import re
from typing import Protocol, cast

from httptools import HttpParserError, HttpResponseParser

from nagaya.gateway.forward import AnswerHead

_LENGTH = re.compile(rb"[0-9]{1,15}\Z")
_MAX_HEAD = 64 * 1024
WRITE_BUFFER = 128 * 1024
"""Bytes that may wait in a socket's buffer before its source is paused."""


class UpstreamError(Exception):
    """The upstream could not be reached, went away or broke the protocol.

    `unused` says that it cannot have seen any of the request; `silent` that it sent no byte of an answer.
    """

    def __init__(self, sentence: str, *, unused: bool = False, silent: bool = False) -> None:
        super().__init__(sentence)
        self.unused = unused
        self.silent = silent


class ResponseSink(Protocol):
    """Who receives an answer. Exactly one of `answer_end` and `answer_failed` ends it."""

    def answer_head(self, head: AnswerHead) -> None:
        """The final head arrived."""

    def answer_body(self, data: bytes) -> None:
        """A piece of the body arrived."""

    def answer_pause(self) -> None:
        """All that was read so far was handed over; more may come at any time or never."""

    def answer_end(self) -> None:
        """The answer is complete."""

    def answer_failed(self, error: UpstreamError) -> None:
        """The answer will not be completed."""

    def hold_body(self) -> None:
        """The upstream's socket is full: stop sending the request's body."""

    def proceed_body(self) -> None:
        """The upstream's socket has room again."""


class UpstreamConnection(asyncio.Protocol):
    """One connection; carries one exchange at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.idle_since = 0.0
        self.used = False
        self._sink: ResponseSink | None = None
        self._parser = HttpResponseParser(self)
        self._is_head = False
        self._chunked_body = False
        self._body_open = False
        self._reset()

    def _reset(self) -> None:
        self._headers: list[tuple[bytes, bytes, bytes]] = []
        self._head_size = 0
        self._answer: AnswerHead | None = None
        self._interim = False
        self._bytes_seen = False
        self._finished = False
        self._keep_alive = False
        self._dirty = False

    @property
    def reusable(self) -> bool:
        """Whether another exchange may use the connection, once the current one has ended."""
        return self._keep_alive and not self._dirty and not self._body_open and not self.closing

    @property
    def closing(self) -> bool:
        """Whether the connection is gone or about to go."""
        return self.transport is None or self.transport.is_closing()

    # What the gateway asks for.

    def start(self, sink: ResponseSink, head: bytes, *, is_head: bool, chunked: bool) -> None:
        """Begin an exchange by sending the request's head."""
        if self.transport is None or self.transport.is_closing():
            raise UpstreamError("The connection was already closed.", unused=True, silent=True)
        self._reset()
        self._sink = sink
        self._is_head = is_head
        self._chunked_body = chunked
        self._body_open = True
        self.transport.write(head)

    def write_body(self, data: bytes) -> None:
        """Send a piece of the request's body."""
        if self.transport is not None and self._sink is not None:
            if self._chunked_body:
                self.transport.writelines([b"%x\r\n" % len(data), data, b"\r\n"])
            else:
                self.transport.write(data)

    def end_body(self) -> None:
        """The request's body is complete.

        If the answer came first, the rest of the body was not sent: the upstream would take the head of another request
        for it, so the body stays open and the connection is not used again.
        """
        if self._sink is None:
            return
        if self.transport is not None and self._body_open and self._chunked_body:
            self.transport.write(b"0\r\n\r\n")
        self._body_open = False

    def pause(self) -> None:
        """Stop reading the answer: the client cannot take more."""
        if not self.closing and self.transport is not None and self.transport.is_reading():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Go on reading the answer."""
        if not self.closing and self.transport is not None and not self.transport.is_reading():
            self.transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection at once, without telling the sink."""
        self._sink = None
        if self.transport is not None:
            self.transport.abort()

    # What the transport reports.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's transports have its methods but not its type.
        self.transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER)

    def data_received(self, data: bytes) -> None:
        if self._sink is None:
            self.abort()  # Nobody asked: whatever this is, the connection cannot be trusted.
            return
        self._bytes_seen = True
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._dirty = True
            if not self._finished:
                self._fail(f"The answer breaks HTTP's rules ({error.__context__ or error}).")
                return
        if self._answer is None:
            self._head_size += len(data)
            if self._head_size > _MAX_HEAD:
                self._fail("The answer's head is too large.")
        elif self._finished:
            self._finish()
        elif self._sink is not None:
            self._sink.answer_pause()

    def eof_received(self) -> bool:
        answer = self._answer
        if self._sink is not None and answer is not None and not answer.chunked and answer.content_length is None:
            self._finished = True
            self._dirty = True
            self._finish()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._sink is not None:
            self._fail("The server closed the connection before its answer was complete.")

    def pause_writing(self) -> None:
        if self._sink is not None:
            self._sink.hold_body()

    def resume_writing(self) -> None:
        if self._sink is not None:
            self._sink.proceed_body()

    def _finish(self) -> None:
        sink, self._sink = self._sink, None
        if self._is_head:
            # The parser cannot know that the answer to HEAD has no body and would wait for one.
            self._parser = HttpResponseParser(self)
        self.used = True
        if sink is not None:
            sink.answer_end()

    def _fail(self, sentence: str) -> None:
        sink, self._sink = self._sink, None
        self.abort()
        if sink is not None:
            sink.answer_failed(UpstreamError(sentence, silent=not self._bytes_seen))

    # What the parser reports.

    def on_message_begin(self) -> None:
        """A further message after the answer is complete can only be a forgery or a bug."""
        if self._finished:
            self._dirty = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line, or a trailer, which is dropped."""
        if self._answer is None:
            self._headers.append((name.lower(), name, value))

    def on_headers_complete(self) -> None:
        """Decide how the body is framed and pass the head on."""
        if self._finished:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200 and status != 101:
            self._interim = True
            self._headers.clear()
            return
        length, chunked = self._framing()
        if status == 101 or not 200 <= status <= 599:
            raise ValueError(f"unexpected status {status}")
        bodyless = self._is_head or status in {204, 304}
        self._keep_alive = self._parser.should_keep_alive() or (bodyless and not self._says_close())
        self._answer = AnswerHead(status, self._headers, length, chunked, bodyless)
        if self._sink is not None:
            self._sink.answer_head(self._answer)
        if bodyless:
            self._finished = True

    def on_body(self, data: bytes) -> None:
        """A piece of the body, which must not exist after the end."""
        if self._finished:
            self._dirty = True
        elif self._sink is not None:
            self._sink.answer_body(data)

    def on_message_complete(self) -> None:
        """The message ended; interim answers are dropped."""
        if self._interim:
            self._interim = False
        elif self._answer is not None:
            self._finished = True

    def _framing(self) -> tuple[int | None, bool]:
        length: int | None = None
        chunked = False
        for lowered, _, value in self._headers:
            if lowered == b"content-length":
                if length is not None or _LENGTH.match(value) is None:
                    raise ValueError("ambiguous Content-Length")
                length = int(value)
            elif lowered == b"transfer-encoding":
                if chunked or value.strip().lower() != b"chunked":
                    raise ValueError("unsupported Transfer-Encoding")
                chunked = True
        if chunked and length is not None:
            raise ValueError("both Content-Length and Transfer-Encoding")
        return length, chunked

    def _says_close(self) -> bool:
        return any(lowered == b"connection" and b"close" in value.lower() for lowered, _, value in self._headers)
