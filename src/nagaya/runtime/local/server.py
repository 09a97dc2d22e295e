"""The keeper protocol's server side: one JSON object per line, requests of a connection concurrently, events pushed."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from nagaya.runtime.interface import RuntimeFailure
from nagaya.runtime.local.rpc import LINE_LIMIT, encode

logger = logging.getLogger(__name__)

CONCURRENT_REQUESTS = 4096
UNSENT_LIMIT = 64 * 1024 * 1024
"""Bytes that a subscriber may lag behind before it is disconnected (it then subscribes anew)."""

Handler = Callable[["Connection", str, dict[str, Any]], Awaitable[Any]]


class Connection:
    """One client. `role` is set by `subscribe`."""

    def __init__(self, writer: asyncio.StreamWriter, uid: int) -> None:
        self._writer = writer
        self.uid = uid
        self.role: str | None = None
        self.subscribed = False

    def send(self, message: dict[str, Any]) -> None:
        """Send a line; a client that does not read is disconnected."""
        transport = self._writer.transport
        if transport.is_closing():
            return
        self._writer.write(encode(message))
        if transport.get_write_buffer_size() > UNSENT_LIMIT:
            logger.warning("a client of uid %d does not read its events; disconnected", self.uid)
            transport.abort()

    def push(self, event: dict[str, Any]) -> None:
        """Send an event."""
        self.send(event)


class RpcServer:
    """Serves the protocol on a listening socket for the given users only."""

    def __init__(self, handler: Handler, on_close: Callable[[Connection], Awaitable[None]], uids: set[int]) -> None:
        self._handler, self._on_close, self._uids = handler, on_close, uids
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests: set[asyncio.Task[None]] = set()
        self.connections: set[Connection] = set()

    async def serve(self, listener: socket.socket) -> None:
        """Begin to accept connections."""
        # Newer Pythons remove a socket's path when they stop accepting; ours is the supervisor's, and our successor's.
        options: dict[str, Any] = {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
        self._server = await asyncio.start_unix_server(self._accept, sock=listener, limit=LINE_LIMIT, **options)

    def stop_accepting(self) -> None:
        """Leave new connections to whoever listens on the socket next; those that exist go on."""
        if self._server is not None:
            self._server.close()

    async def drain(self) -> None:
        """Wait until every request that was received has been answered."""
        while self._requests:
            await asyncio.wait(self._requests)

    async def close(self) -> None:
        """Stop serving and drop all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def broadcast(self, event: dict[str, Any]) -> None:
        """Push an event to every subscriber."""
        for connection in list(self.connections):
            if connection.subscribed:
                connection.push(event)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = Connection(writer, peer_uid(writer))
        try:
            if connection.uid not in self._uids:
                logger.warning("refused a connection of uid %d", connection.uid)
                return
            self.connections.add(connection)
            await self._serve(reader, connection)
        except (OSError, asyncio.CancelledError):
            pass  # The client went away, or the keeper ends.
        finally:
            self._tasks.discard(task)
            self.connections.discard(connection)
            writer.close()
            await self._on_close(connection)

    async def _serve(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        requests: set[asyncio.Task[None]] = set()
        try:
            while line := await reader.readline():
                if len(requests) >= CONCURRENT_REQUESTS:
                    await asyncio.wait(requests, return_when=asyncio.FIRST_COMPLETED)
                request = asyncio.create_task(self._answer(connection, line))
                for known in (requests, self._requests):
                    known.add(request)
                    request.add_done_callback(known.discard)
        except ValueError as error:  # StreamReader's word for a line beyond the limit.
            connection.send({"id": None, "error": {"code": "invalid", "message": f"The line is too long: {error}"}})
        finally:
            for request in requests:
                request.cancel()

    async def _answer(self, connection: Connection, line: bytes) -> None:
        number = None
        try:
            message = json.loads(line)
            number = message.get("id")
            params = message.get("params") or {}
            result = await self._handler(connection, str(message.get("method")), params)
            connection.send({"id": number, "result": result})
        except RuntimeFailure as error:
            connection.send({"id": number, "error": {"code": error.code, "message": str(error)}})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            logger.info("invalid request", exc_info=True)
            connection.send({"id": number, "error": {"code": "invalid", "message": f"The request is wrong: {error}"}})
        except OSError as error:
            logger.exception("a request failed")
            connection.send(
                {"id": number, "error": {"code": "internal", "message": f"The keeper cannot do that: {error}"}}
            )


def peer_uid(writer: asyncio.StreamWriter) -> int:
    """Return the user id of a unix socket's other end (SO_PEERCRED, unix(7))."""
    sock = writer.get_extra_info("socket")
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", credentials)[1]
    return uid


def allowed_uids(service_uid: int | None) -> set[int]:
    """Return who may speak to the keeper: root, its own user, the api and the gateway."""
    services = set() if service_uid is None else {service_uid, service_uid + 1}
    return {0, os.geteuid()} | services
