"""The connection to one zygote: whole messages over SOCK_SEQPACKET, descriptors beside them, exits pushed back."""

from __future__ import annotations

import array
import asyncio
import json
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

MESSAGE_LIMIT = 200_000
"""Bytes of a message, below the default size of a socket's send buffer (unix(7), net.core.wmem_default)."""


class ZygoteLostError(Exception):
    """The zygote closed its connection, does not answer, or answers nonsense."""


class ZygoteLink:
    """Requests one at a time; `on_exit(pid, status)` is told of each child that ended."""

    def __init__(self, connection: socket.socket, on_exit: Callable[[int, int], None]) -> None:
        self._socket = connection
        self._on_exit = on_exit
        self._lock = asyncio.Lock()
        self._answer: asyncio.Future[dict[str, Any]] | None = None
        self.closed = asyncio.Event()
        asyncio.get_running_loop().add_reader(connection.fileno(), self._read)

    @classmethod
    async def open(cls, path: Path, on_exit: Callable[[int, int], None], *, limit: float) -> Self:
        """Connect to a zygote and wait for its first sign of life. Raises ZygoteLostError."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        connection.setblocking(False)
        try:
            async with asyncio.timeout(limit):
                while True:
                    with suppress(BlockingIOError):  # The queue of connections is full.
                        connection.connect(str(path))
                        break
                    await asyncio.sleep(0.05)
        except OSError as error:
            connection.close()
            raise ZygoteLostError(f"cannot connect to the zygote: {error}") from error
        link = cls(connection, on_exit)
        try:
            await link.request({"cmd": "ping"}, limit=limit)
        except ZygoteLostError:
            link.close()
            raise
        return link

    def _read(self) -> None:
        try:
            while True:
                data = self._socket.recv(MESSAGE_LIMIT * 2)
                if not data:
                    self.close()
                    return
                message = json.loads(data)
                if "exit" in message:
                    self._on_exit(int(message["exit"]), int(message.get("status", 0)))
                elif self._answer is not None and not self._answer.done():
                    self._answer.set_result(message)
        except BlockingIOError:
            return
        except (OSError, ValueError, TypeError):
            self.close()

    async def request(self, message: dict[str, Any], fds: Sequence[int] = (), *, limit: float) -> dict[str, Any]:
        """Send a message with descriptors and return the answer.

        Raises ZygoteLostError; after a timeout the link is closed, because the next answer could not be told apart.
        """
        data = json.dumps(message, separators=(",", ":")).encode()
        if len(data) > MESSAGE_LIMIT:
            raise ValueError(f"a message of {len(data)} bytes is too long for the zygote (limit {MESSAGE_LIMIT})")
        async with self._lock:
            if self.closed.is_set():
                raise ZygoteLostError("the zygote is gone")
            self._answer = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(limit):
                    await self._send(data, fds)
                    return await self._answer
            except TimeoutError as error:
                self.close()
                raise ZygoteLostError(f"the zygote did not answer within {limit:g} s") from error
            except OSError as error:
                self.close()
                raise ZygoteLostError(f"the zygote is gone: {error}") from error
            finally:
                self._answer = None

    async def _send(self, data: bytes, fds: Sequence[int]) -> None:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        while True:
            try:
                self._socket.sendmsg([data], ancillary)
                return
            except BlockingIOError:
                await asyncio.sleep(0.002)

    def close(self) -> None:
        """Close the connection; a waiting request fails."""
        if self.closed.is_set():
            return
        self.closed.set()
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ZygoteLostError("the zygote closed its connection"))
