"""The keeper protocol's client side: newline-delimited JSON over a unix socket, blocking and asynchronous."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from nagaya.runtime.interface import RuntimeFailure

LINE_LIMIT = 64 * 1024 * 1024
"""Bytes of the longest line either side accepts (policy documents of large organizations)."""


class KeeperUnreachableError(RuntimeFailure):
    """Nobody answers on the keeper's socket."""

    def __init__(self, path: Path, cause: object) -> None:
        super().__init__("unreachable", f"The keeper does not answer on {path} ({cause}); is Nagaya running?")


def encode(value: dict[str, Any]) -> bytes:
    """Return one line of the protocol."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def result_of(answer: dict[str, Any]) -> Any:
    """Return an answer's result. Raises RuntimeFailure when it carries an error."""
    if "error" in answer:
        error = answer["error"]
        raise RuntimeFailure(str(error.get("code", "internal")), str(error.get("message", "no reason given")))
    return answer.get("result")


def call(path: Path, method: str, *, timeout: float = 30.0, **params: Any) -> Any:
    """Make one blocking call on a connection of its own.

    Raises KeeperUnreachableError, or RuntimeFailure with the keeper's code.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(path))
            connection.sendall(encode({"id": 1, "method": method, "params": params}))
            with connection.makefile("rb") as stream:
                line = stream.readline(LINE_LIMIT)
        except OSError as error:
            raise KeeperUnreachableError(path, error) from error
    if not line.endswith(b"\n"):
        raise KeeperUnreachableError(path, "it closed the connection")
    return result_of(json.loads(line))


class RpcConnection:
    """One asynchronous connection; calls run concurrently, events arrive in `events`."""

    def __init__(self, path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._path = path
        self._reader, self._writer = reader, writer
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.closed = asyncio.Event()
        self._task = asyncio.create_task(self._read(), name="keeper-rpc")

    @classmethod
    async def open(cls, path: Path) -> RpcConnection:
        """Connect to the keeper. Raises KeeperUnreachableError."""
        try:
            reader, writer = await asyncio.open_unix_connection(path, limit=LINE_LIMIT)
        except OSError as error:
            raise KeeperUnreachableError(path, error) from error
        return cls(path, reader, writer)

    async def _read(self) -> None:
        cause: object = "it closed the connection"
        try:
            while line := await self._reader.readline():
                message = json.loads(line)
                if "event" in message:
                    self._events.put_nowait(message)
                    continue
                future = self._waiting.pop(message.get("id"), None)
                if future is not None and not future.done():
                    future.set_result(message)
        except (OSError, ValueError) as error:
            cause = error
        finally:
            self.closed.set()
            self._events.put_nowait(None)
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(KeeperUnreachableError(self._path, cause))
            self._waiting.clear()
            self._writer.close()

    async def call(self, method: str, **params: Any) -> Any:
        """Make a call. Raises KeeperUnreachableError when the connection is or gets lost, or RuntimeFailure."""
        if self.closed.is_set():
            raise KeeperUnreachableError(self._path, "the connection is closed")
        number = next(self._ids)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._writer.write(encode({"id": number, "method": method, "params": params}))
            await self._writer.drain()
            return result_of(await future)
        except OSError as error:
            raise KeeperUnreachableError(self._path, error) from error
        finally:
            self._waiting.pop(number, None)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield pushed events until the connection ends."""
        while (event := await self._events.get()) is not None:
            yield event

    async def close(self) -> None:
        """Close the connection; waiting calls fail."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        with suppress(OSError):
            await self._writer.wait_closed()
