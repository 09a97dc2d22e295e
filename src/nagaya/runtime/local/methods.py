"""The methods of the keeper protocol: each checks its caller and hands over to the keeper."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import nagaya
from nagaya.runtime.interface import RuntimeFailure, TenantSpec
from nagaya.runtime.local.server import Connection

if TYPE_CHECKING:
    from nagaya.runtime.local.keeper import Keeper

GATEWAY_METHODS = frozenset({"hello", "wake", "activity", "quiesced", "subscribe", "list", "get", "metrics"})
"""What the gateway's user may call; the api's and root may call everything."""

CHANGING_METHODS = frozenset({"apply", "policy", "wake", "sleep", "restart", "purge"})
"""What a keeper that is being replaced leaves to its successor."""

LOG_LINES = 10_000


class Methods:
    """Dispatches requests by name."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._methods: dict[str, Callable[[Connection, dict[str, Any]], Awaitable[Any]]] = {
            "hello": self._hello,
            "apply": self._apply,
            "policy": self._policy,
            "wake": self._wake,
            "sleep": self._sleep,
            "restart": self._restart,
            "purge": self._purge,
            "logs": self._logs,
            "list": self._list,
            "get": self._get,
            "metrics": self._metrics,
            "activity": self._activity,
            "quiesced": self._quiesced,
            "subscribe": self._subscribe,
        }

    async def __call__(self, connection: Connection, method: str, params: dict[str, Any]) -> Any:
        """Run a method. Raises RuntimeFailure `unknown_method` or `forbidden`, or what the method raises."""
        handler = self._methods.get(method)
        if handler is None:
            raise RuntimeFailure("unknown_method", f"The keeper has no method {method!r}.")
        if connection.uid == self._keeper.config.gateway_uid and method not in GATEWAY_METHODS:
            raise RuntimeFailure("forbidden", f"The gateway may not call {method}.")
        if self._keeper.leaving and method in CHANGING_METHODS:
            raise RuntimeFailure("unreachable", "The keeper is being replaced; try again.")
        return await handler(connection, params)

    async def _hello(self, connection: Connection, params: dict[str, Any]) -> Any:
        return {"version": nagaya.__version__, "pid": os.getpid(), "engines": self._keeper.pool.describe()}

    async def _apply(self, connection: Connection, params: dict[str, Any]) -> Any:
        spec = TenantSpec.from_json(params["spec"])
        tenant = self._keeper.tenant_or_new(spec.id)
        await tenant.apply(spec)
        self._keeper.sleeper.changed()
        return tenant.describe().to_json()

    async def _policy(self, connection: Connection, params: dict[str, Any]) -> Any:
        tenant = self._keeper.tenant_or_new(params["id"])
        await tenant.set_policy(params["policy"])
        return {"version": tenant.policy_version}

    async def _wake(self, connection: Connection, params: dict[str, Any]) -> Any:
        answer = await self._keeper.tenant(params["id"]).wake()
        self._keeper.sleeper.changed()
        return answer

    async def _sleep(self, connection: Connection, params: dict[str, Any]) -> Any:
        tenant = self._keeper.tenant(params["id"])
        await tenant.stop()
        return tenant.describe().to_json()

    async def _restart(self, connection: Connection, params: dict[str, Any]) -> Any:
        tenant = self._keeper.tenant(params["id"])
        await tenant.restart()
        self._keeper.sleeper.changed()
        return tenant.describe().to_json()

    async def _purge(self, connection: Connection, params: dict[str, Any]) -> Any:
        await self._keeper.purge(params["id"])
        return {}

    async def _logs(self, connection: Connection, params: dict[str, Any]) -> Any:
        lines = min(max(int(params.get("lines", 200)), 0), LOG_LINES)
        return self._keeper.tenant(params["id"]).read_log(lines)

    async def _list(self, connection: Connection, params: dict[str, Any]) -> Any:
        return [tenant.describe().to_json() for tenant in self._keeper.known_tenants()]

    async def _get(self, connection: Connection, params: dict[str, Any]) -> Any:
        return self._keeper.tenant(params["id"]).describe().to_json()

    async def _metrics(self, connection: Connection, params: dict[str, Any]) -> Any:
        return self._keeper.host.metrics.snapshot()

    async def _activity(self, connection: Connection, params: dict[str, Any]) -> Any:
        connection.role = "gateway"
        self._keeper.sleeper.activity(params["tenants"], self._keeper.tenants.get)
        return {}

    async def _quiesced(self, connection: Connection, params: dict[str, Any]) -> Any:
        await self._keeper.sleeper.quiesced(connection, params["id"], bool(params["ok"]))
        return {}

    async def _subscribe(self, connection: Connection, params: dict[str, Any]) -> Any:
        role = params.get("role")
        if role is not None:
            connection.role = str(role)
        elif connection.uid == self._keeper.config.gateway_uid:
            connection.role = "gateway"
        connection.subscribed = True
        for tenant in self._keeper.known_tenants():
            connection.push(tenant.route())
        connection.push({"event": "synced"})
        return {}
