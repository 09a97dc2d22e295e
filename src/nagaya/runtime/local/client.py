"""The runtime interface on one host: every method is a call to the keeper."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from nagaya.runtime.interface import Awake, TenantSpec, TenantState
from nagaya.runtime.local.rpc import KeeperUnreachableError, RpcConnection


class LocalRuntime:
    """Speaks to the keeper on its socket; reconnects by itself after the keeper was restarted."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._connection: RpcConnection | None = None
        self._lock = asyncio.Lock()

    async def _connected(self) -> RpcConnection:
        async with self._lock:
            if self._connection is None or self._connection.closed.is_set():
                self._connection = await RpcConnection.open(self._socket)
            return self._connection

    async def _call(self, method: str, **params: Any) -> Any:
        """Call once, and a second time if the connection broke: every method of the protocol is idempotent."""
        connection = await self._connected()
        try:
            return await connection.call(method, **params)
        except KeeperUnreachableError:
            connection = await self._connected()
            return await connection.call(method, **params)

    async def hello(self) -> dict[str, Any]:
        """Return version, process id and engines of the keeper."""
        answer: dict[str, Any] = await self._call("hello")
        return answer

    async def apply(self, spec: TenantSpec) -> TenantState:
        """Store `spec` durably and drive the tenant towards it."""
        return TenantState.from_json(await self._call("apply", spec=spec.to_json()))

    async def policy(self, tenant: str, policy: dict[str, Any]) -> None:
        """Store the newest policy document of a tenant."""
        await self._call("policy", id=tenant, policy=policy)

    async def wake(self, tenant: str) -> Awake:
        """Return once the tenant answers requests."""
        answer = await self._call("wake", id=tenant)
        return Awake(socket=answer["socket"], pid=answer["pid"], timings=answer.get("timings", {}))

    async def sleep(self, tenant: str) -> TenantState:
        """Stop the tenant's process in order."""
        return TenantState.from_json(await self._call("sleep", id=tenant))

    async def restart(self, tenant: str) -> TenantState:
        """Stop and start, and forget earlier failures."""
        return TenantState.from_json(await self._call("restart", id=tenant))

    async def purge(self, tenant: str) -> None:
        """Remove the tenant's files and record for ever."""
        await self._call("purge", id=tenant)

    async def logs(self, tenant: str, lines: int = 200) -> list[str]:
        """Return the last lines of the tenant's log."""
        answer: list[str] = await self._call("logs", id=tenant, lines=lines)
        return answer

    async def list(self) -> list[TenantState]:
        """Return the states of all tenants."""
        return [TenantState.from_json(item) for item in await self._call("list")]

    async def get(self, tenant: str) -> TenantState:
        """Return the state of one tenant."""
        return TenantState.from_json(await self._call("get", id=tenant))

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield events on a connection of their own until it is lost."""
        connection = await RpcConnection.open(self._socket)
        try:
            await connection.call("subscribe", role="api")
            async for event in connection.events():
                yield event
        finally:
            await connection.close()

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            await self._connection.close()
