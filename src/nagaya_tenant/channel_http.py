"""A small HTTP/1.1 client over a unix socket (asyncio and h11): one connection, one request at a time."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import h11

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_READ = 65_536
_LARGEST_ANSWER = 64 * 1024 * 1024


class ChannelError(ConnectionError):
    """The control plane did not answer, or not with what the channel's protocol says."""


class Answer(NamedTuple):
    """A complete response."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ChannelError: It is none.
        """
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise ChannelError("The control plane answered something that is not JSON.") from error


class Connection:
    """One connection to the control plane.

    Args:
        path: The unix socket.
        headers: Sent with every request.
    """

    def __init__(self, path: Path, headers: tuple[tuple[str, str], ...]) -> None:
        self._path = path
        self._headers = headers
        self._h11 = h11.Connection(h11.CLIENT)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._sent = False

    async def send(self, method: str, target: str, value: Any = None) -> None:
        """Sends a request whose answer `request`, called with the same arguments, then only reads.

        Raises:
            ChannelError: The control plane cannot be reached.
        """
        await self._send(method, target, value)
        self._sent = True

    async def request(self, method: str, target: str, value: Any = None) -> Answer:
        """Sends a request and reads the whole answer.

        Args:
            method: HTTP method.
            target: Path and query.
            value: Sent as JSON unless `None`.

        Raises:
            ChannelError: No answer, or not HTTP.
        """
        status = await self._start(method, target, value)
        body = bytearray()
        async for chunk in self._body(None):
            body += chunk
            if len(body) > _LARGEST_ANSWER:
                raise ChannelError("The control plane's answer is too large.")
        return Answer(status, bytes(body))

    async def lines(self, target: str, silence: float) -> AsyncIterator[bytes]:
        """The lines of an answer that never ends.

        Args:
            target: Path and query.
            silence: Seconds without a byte after which the connection counts as dead.

        Raises:
            ChannelError: Another status than 200, silence, or the end of the answer.
        """
        async with asyncio.timeout(silence):
            status = await self._start("GET", target, None)
        if status != 200:
            raise ChannelError(f"The control plane answered {status} to the stream.")
        rest = b""
        async for chunk in self._body(silence):
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > _LARGEST_ANSWER:
                raise ChannelError("The control plane sent a line without end.")
            for line in lines:
                if line.strip():
                    yield line
        raise ChannelError("The control plane ended the stream.")

    async def close(self) -> None:
        """Closes the connection."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    async def _start(self, method: str, target: str, value: Any) -> int:
        if not self._sent:
            await self._send(method, target, value)
        self._sent = False
        try:
            while True:
                event = await self._event()
                if isinstance(event, h11.Response):
                    return int(event.status_code)
        except (OSError, h11.ProtocolError) as error:
            raise ChannelError(f"The control plane did not answer: {error}") from error

    async def _send(self, method: str, target: str, value: Any) -> None:
        body = b"" if value is None else json.dumps(value, separators=(",", ":")).encode()
        headers = [("host", "control-plane"), *self._headers, ("content-length", str(len(body)))]
        if body:
            headers.append(("content-type", "application/json"))
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_unix_connection(str(self._path))
            data = self._h11.send(h11.Request(method=method, target=target, headers=headers)) or b""
            data += (self._h11.send(h11.Data(data=body)) or b"") + (self._h11.send(h11.EndOfMessage()) or b"")
            self._writer.write(data)
            await self._writer.drain()
        except (OSError, h11.ProtocolError) as error:
            raise ChannelError(f"The control plane did not answer: {error}") from error

    async def _body(self, silence: float | None) -> AsyncIterator[bytes]:
        try:
            while True:
                async with asyncio.timeout(silence):
                    event = await self._event()
                if isinstance(event, h11.Data):
                    yield bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
                        self._h11.start_next_cycle()
                    else:
                        await self.close()
                    return
        except TimeoutError as error:
            raise ChannelError(f"The control plane was silent for {silence:g} seconds.") from error
        except (OSError, h11.ProtocolError) as error:
            raise ChannelError(f"The connection to the control plane broke: {error}") from error

    async def _event(self) -> Any:
        assert self._reader is not None
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                self._h11.receive_data(await self._reader.read(_READ))
            elif isinstance(event, h11.ConnectionClosed):
                raise ChannelError("The control plane closed the connection.")
            else:
                return event
