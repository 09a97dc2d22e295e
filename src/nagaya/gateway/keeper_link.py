"""The gateway's line to the keeper: one subscription that is renewed for ever, and calls over it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from nagaya.gateway.access_log import Log
from nagaya.runtime.interface import RuntimeFailure
from nagaya.runtime.local.rpc import RpcConnection

_FIRST_DELAY = 0.05
_LONGEST_DELAY = 2.0


class KeeperLink:
    """Keeps a connection to the keeper; while there is none the routing table stays as it was."""

    def __init__(
        self, path: str, log: Log, on_event: Callable[[dict[str, Any]], None], on_connect: Callable[[], None]
    ) -> None:
        self._path = Path(path)
        self._log = log
        self._on_event = on_event
        self._on_connect = on_connect
        self._connection: RpcConnection | None = None
        self._connected = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._synced = asyncio.Event()

    @property
    def synced(self) -> bool:
        """Whether the keeper has told of every tenant at least once."""
        return self._synced.is_set()

    @property
    def connected(self) -> bool:
        """Whether the keeper answers at the moment."""
        return self._connection is not None and not self._connection.closed.is_set()

    def start(self) -> None:
        """Begin connecting."""
        self._task = asyncio.create_task(self._keep(), name="keeper-link")

    async def close(self) -> None:
        """Give up the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def call(self, method: str, **params: Any) -> Any:
        """Call the keeper, waiting until it is there; callers set a time limit. Raises `RuntimeFailure`."""
        await self._connected.wait()
        assert self._connection is not None
        return await self._connection.call(method, **params)

    async def ready(self, seconds: float) -> None:
        """Wait until the keeper has told of every tenant, at most so many seconds."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._synced.wait(), seconds)

    async def tell(self, method: str, **params: Any) -> None:
        """Call the keeper if it is there; what is told is told again later or not needed then."""
        connection = self._connection
        if connection is None:
            return
        try:
            await connection.call(method, **params)
        except RuntimeFailure as error:
            self._log.write("keeper call failed", method=method, reason=str(error))

    async def _keep(self) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                await self._session()
                delay = _FIRST_DELAY
            except RuntimeFailure as error:
                self._log.write("keeper unreachable", reason=str(error), retry_in=delay)
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)

    async def _session(self) -> None:
        connection = await RpcConnection.open(self._path)
        try:
            self._on_connect()
            await connection.call("subscribe", role="gateway")
            self._connection = connection
            self._connected.set()
            async for event in connection.events():
                self._take(event)
        finally:
            self._connection = None
            self._connected.clear()
            await connection.close()

    def _take(self, event: dict[str, Any]) -> None:
        try:
            self._on_event(event)
        except (KeyError, TypeError, ValueError) as error:
            # One event that cannot be read must not cost the routes of everybody else.
            self._log.write("keeper event refused", kind=event.get("event"), reason=repr(error))
        if event.get("event") == "synced":
            self._synced.set()
