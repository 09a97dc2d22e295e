"""Reads requests from one client's bytes: piece by piece, so that neither heads nor pipelined requests pile up."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from httptools import HttpParserError, HttpRequestParser

from nagaya.gateway.answers import GatewayError, bad_request
from nagaya.gateway.request import Request, RequestBody
from nagaya.gateway.settings import GatewaySettings

_HEAD_SLICE = 16 * 1024
_BODY_SLICE = 64 * 1024
_MAX_PIPELINED = 1000
_CHUNK_SLACK = 80 * 1024


class ReaderOwner(Protocol):
    """Who receives the requests: a client connection."""

    def request_started(self) -> None:
        """The first bytes of a request came."""

    def request_ready(self, request: Request) -> None:
        """A head is complete and checked; the body follows."""

    def body_moved(self, request: Request) -> None:
        """A piece of the body came."""

    def request_complete(self, request: Request) -> None:
        """The body is complete."""

    def reading_broken(self, request: Request | None, error: GatewayError) -> None:
        """Nothing more can be understood; `request` is the one whose body broke, if it was one."""

    def queue_length(self) -> int:
        """How many requests wait behind the one that is being answered."""

    def steer_reading(self) -> None:
        """Whether reading should pause may have changed."""


class RequestReader:
    """The parser of one connection and what it is in the middle of."""

    __slots__ = ("_backlog", "_head_done", "_owner", "_parser", "_paused", "_raw", "_settings", "broken", "parsing")

    def __init__(self, owner: ReaderOwner, settings: GatewaySettings) -> None:
        self._owner = owner
        self._settings = settings
        self._parser = HttpRequestParser(self)
        self._head_done = False
        self._raw = 0
        self._backlog: deque[bytes] = deque()
        self._paused = False
        self.parsing: Request | None = None
        """The request of which more bytes are expected."""
        self.broken = False
        """Whether nothing more is read on this connection."""

    @property
    def wants_pause(self) -> bool:
        """Whether the socket should not be read at the moment."""
        return self._paused or bool(self._backlog)

    @property
    def amid_head(self) -> bool:
        """Whether a head has begun and is incomplete."""
        return not self._head_done and (self.parsing is not None or self._raw > 0)

    def stop(self) -> None:
        """Read nothing more; what was held back is forgotten."""
        self.broken = True
        self._backlog.clear()
        if self.parsing is not None:
            self.parsing.body.abandon()

    def feed(self, data: bytes) -> None:
        """Take bytes from the socket."""
        if self._backlog:
            self._backlog.append(data)
        else:
            self._parse(data)

    def feed_backlog(self) -> bool:
        """Parse some of what was held back; False if there is nothing."""
        if not self._backlog:
            return False
        self._parse(self._backlog.popleft())
        return True

    def _parse(self, data: bytes) -> None:
        view = memoryview(data)
        offset = 0
        while offset < len(view) and not self.broken:
            in_body = self._head_done
            if not in_body and self._owner.queue_length():
                self._backlog.appendleft(bytes(view[offset:]))
                self._owner.steer_reading()
                return
            if not in_body and self.parsing is None:
                self._owner.request_started()
            piece = view[offset : offset + (_BODY_SLICE if in_body else _HEAD_SLICE)]
            offset += len(piece)
            self._raw += len(piece)
            try:
                self._parser.feed_data(piece)
                self._check_sizes()
            except HttpParserError as error:
                cause = error.__context__
                refused = cause if isinstance(cause, GatewayError) else bad_request(f"This is not valid HTTP: {error}.")
                self._break(refused)
            except GatewayError as error:
                self._break(error)

    def _check_sizes(self) -> None:
        if not self._head_done:
            if self._raw > self._settings.max_head_bytes + _HEAD_SLICE:
                raise self._too_large()
        elif self.parsing is not None and self._raw > _CHUNK_SLACK + 16 * self.parsing.body.received:
            raise bad_request("The body's chunks carry far more overhead than content.")

    def _too_large(self) -> GatewayError:
        limit = self._settings.max_head_bytes
        sentence = f"The request's head exceeds {limit} bytes or {self._settings.max_headers} headers."
        return GatewayError(431, "HeadersTooLarge", sentence, close=True)

    def _break(self, error: GatewayError) -> None:
        request = self.parsing if self._head_done else None
        self.parsing = None
        self.broken = True
        self._backlog.clear()
        self._owner.reading_broken(request, error)

    def _pause_body(self) -> None:
        self._paused = True
        self._owner.steer_reading()

    def _resume_body(self) -> None:
        if self._paused:
            self._paused = False
            self._owner.steer_reading()

    # The parser's callbacks.

    def on_message_begin(self) -> None:
        """A new request starts."""
        if self._owner.queue_length() >= _MAX_PIPELINED:
            raise bad_request("Too many requests were sent ahead without waiting for answers.")
        self.parsing = Request(RequestBody(self._pause_body, self._resume_body))
        self._head_done = False

    def on_url(self, url: bytes) -> None:
        """A piece of the request target."""
        request = self.parsing
        assert request is not None
        request.target += url
        if len(request.target) > self._settings.max_target_bytes:
            raise bad_request(f"The request target is longer than {self._settings.max_target_bytes} bytes.", 414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line, or a trailer, which is dropped."""
        request = self.parsing
        if request is None or self._head_done:
            return
        request.size += len(name) + len(value) + 4
        if request.size > self._settings.max_head_bytes or len(request.headers) >= self._settings.max_headers:
            raise self._too_large()
        request.add_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is there: check it and hand the request over."""
        request = self.parsing
        assert request is not None
        request.method = self._parser.get_method()
        request.version = self._parser.get_http_version()
        request.keep_alive = request.version == "1.1" and self._parser.should_keep_alive()
        request.check_head()
        if self._parser.should_upgrade():
            sentence = "Protocol upgrades such as WebSocket are not supported here."
            raise GatewayError(501, "NotImplementedError", sentence, close=True)
        self._head_done = True
        self._raw = 0
        self._owner.request_ready(request)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        if self.parsing is not None:
            self._owner.body_moved(self.parsing)
            self.parsing.body.feed(data)

    def on_message_complete(self) -> None:
        """The request is complete."""
        request, self.parsing = self.parsing, None
        self._head_done = False
        self._raw = 0
        if request is not None:
            self._owner.request_complete(request)
            request.body.finish()
