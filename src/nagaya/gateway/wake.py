"""Waking sleeping tenants: one call to the keeper however many requests wait for it, each waiting a bounded time."""

from __future__ import annotations

import asyncio
import time

from nagaya.gateway.answers import GatewayError
from nagaya.gateway.keeper_link import KeeperLink
from nagaya.gateway.metrics import GatewayMetrics
from nagaya.gateway.routes import Route
from nagaya.runtime.interface import RuntimeFailure

# The keeper's error codes (docs/reference/internals.md): status, exception class, seconds after which to try again.
_FAILURES: dict[str, tuple[int, str, int | None]] = {
    "deactivated": (503, "ServiceUnavailable", None),
    "failed": (502, "BadGateway", None),
    "deleted": (410, "KeyError", None),
    "unknown": (404, "KeyError", None),
    "busy": (503, "ServiceUnavailable", 2),
    "timeout": (503, "ServiceUnavailable", 5),
    "unreachable": (503, "ServiceUnavailable", 2),
}


class Waker:
    """Single-flight `wake` calls."""

    def __init__(self, link: KeeperLink, seconds: float, metrics: GatewayMetrics) -> None:
        self._metrics = metrics
        self._link = link
        self._seconds = seconds
        self._running: dict[str, asyncio.Task[str]] = {}

    async def wake(self, route: Route) -> str:
        """The socket of the tenant once it answers; raises `GatewayError` with the reason if that takes too long."""
        task = self._running.get(route.id)
        if task is None:
            task = self._running[route.id] = asyncio.create_task(self._call(route))
            task.add_done_callback(lambda done: self._finished(route.id, done))
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(task)
        except TimeoutError:
            raise self._too_slow(route) from None
        except RuntimeFailure as failure:
            status, code, retry = _FAILURES.get(failure.code, (503, "ServiceUnavailable", 5))
            raise GatewayError(status, code, f"The tenant {route.name} cannot be used: {failure}", retry) from failure

    def _finished(self, tenant_id: str, task: asyncio.Task[str]) -> None:
        self._running.pop(tenant_id, None)
        if not task.cancelled():
            task.exception()  # Whoever waited was told; nobody may be left to wait.

    async def _call(self, route: Route) -> str:
        """Ask the keeper, and note how long it took and how it ended."""
        began = time.perf_counter()
        try:
            socket = await self._ask(route)
        except TimeoutError:
            self._metrics.woken(began, "timeout" if self._link.connected else "unreachable")
            raise
        except RuntimeFailure as failure:
            self._metrics.woken(began, failure.code)
            raise
        self._metrics.woken(began, "awake")
        return socket

    async def _ask(self, route: Route) -> str:
        """Ask until the keeper answers: it may be restarting."""
        async with asyncio.timeout(2 * self._seconds):
            while True:
                try:
                    answer = await self._link.call("wake", id=route.id)
                    break
                except RuntimeFailure as failure:
                    if failure.code != "unreachable":
                        raise
                    await asyncio.sleep(0.05)
        socket = str(answer["socket"])
        if self._link.connected:
            route.socket, route.state, route.draining = socket, "awake", False
        return socket

    def _too_slow(self, route: Route) -> GatewayError:
        if not self._link.connected:
            reason = "the process that wakes tenants does not answer"
        else:
            reason = f"it is {route.state}" + (f": {route.reason}" if route.reason else "")
        sentence = f"The tenant {route.name} was not ready within {self._seconds:g} seconds; {reason}."
        return GatewayError(503, "ServiceUnavailable", sentence, retry_after=5)
