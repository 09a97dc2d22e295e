"""What the gateway counts, and the numbers of the other processes: everything that one scrape shows."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import nagaya
from nagaya.gateway import internal
from nagaya.gateway.request import Request
from nagaya.gateway.upstream import UpstreamError
from nagaya.metrics.catalogue import GATEWAY, PLATFORM, PROCESSES
from nagaya.metrics.registry import Labels, Registry, Snapshot
from nagaya.runtime.interface import RuntimeFailure
from nagaya.runtime.local.usage import usage_of
from nagaya.supervisor.record import SupervisorRecord

if TYPE_CHECKING:
    from nagaya.gateway.gateway import Gateway

_NEIGHBOUR_SECONDS = 3.0
_STATUSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
_ROUTES = frozenset({"api", "tenant"})


class GatewayMetrics:
    """The gateway's own numbers."""

    def __init__(self, *, tenants: bool) -> None:
        self.registry = Registry(GATEWAY)
        self._tenants = tenants
        self._requests = self.registry.histogram("nagaya_gateway_request_seconds")
        self._refusals = self.registry.counter("nagaya_gateway_refusals_total")
        self._waits = self.registry.histogram("nagaya_gateway_wait_seconds")
        self._wakes = self.registry.histogram("nagaya_gateway_wake_seconds")
        self._by_tenant = self.registry.counter("nagaya_tenant_requests_total")
        self.connects = self.registry.counter("nagaya_gateway_upstream_connects_total")

    def request(self, request: Request, status: int, tenant: str | None) -> None:
        """Count a request that has ended; `tenant` is the name of the one that it went to."""
        seconds = time.perf_counter() - request.started
        kind = request.route_class if request.route_class in _ROUTES else "gateway"
        group = _STATUSES[status // 100]
        self._requests.observe(seconds, kind, group)
        if self._tenants and tenant is not None:
            self._by_tenant.inc(tenant, group)

    def refused(self, code: str) -> None:
        """Count an error that the gateway made itself."""
        self._refusals.inc(code)

    async def entering(self, waiting: Awaitable[None], route: str) -> None:
        """Wait for a place, and note how long that took."""
        began = time.perf_counter()
        try:
            await waiting
        finally:
            self._waits.observe(time.perf_counter() - began, route)

    def woken(self, began: float, outcome: str) -> None:
        """Note how a wake ended that began at `began` (`time.perf_counter`)."""
        self._wakes.observe(time.perf_counter() - began, outcome)

    def tenant_gone(self, name: str) -> None:
        """Forget the series of a tenant that was removed."""
        self._by_tenant.forget(name)


def observe(gateway: Gateway) -> None:
    """Let the gauges read what the gateway knows at the moment of a scrape."""

    def routes(read: Callable[[], tuple[int, int]]) -> dict[Labels, float]:
        api, tenants = read()
        return {("api",): float(api), ("tenant",): float(tenants)}

    def upstream() -> dict[Labels, float]:
        busy = sum(1 for client in gateway.connections if client.upstream is not None)
        return {("in_use",): float(busy), ("idle",): float(gateway.pools.idle)}

    registry = gateway.metrics.registry
    registry.gauge("nagaya_gateway_connections", lambda: {(): float(len(gateway.connections))})
    registry.gauge("nagaya_gateway_requests_in_flight", lambda: routes(lambda: gateway.load("entered")))
    registry.gauge("nagaya_gateway_requests_waiting", lambda: routes(lambda: gateway.load("waiting")))
    registry.gauge("nagaya_gateway_upstream_connections", upstream)
    registry.gauge("nagaya_gateway_keeper_connected", lambda: {(): float(gateway.link.connected)})


async def collect(gateway: Gateway) -> list[Snapshot]:
    """Return the numbers of every process; one that does not answer in time is left out and shown as down.

    Nothing of this wakes a tenant or counts as its use.
    """
    keeper, api = await asyncio.gather(_from_keeper(gateway), _from_api(gateway))
    own = gateway.metrics.registry.snapshot()
    up = {"gateway": True, "keeper": keeper is not None, "api": api is not None}
    return [_platform(gateway.settings.run_dir, up), own, keeper or {}, api or {}]


async def _from_keeper(gateway: Gateway) -> Snapshot | None:
    with suppress(RuntimeFailure, TimeoutError):
        async with asyncio.timeout(_NEIGHBOUR_SECONDS):
            snapshot: Snapshot = await gateway.link.call("metrics")
            return snapshot
    return None


async def _from_api(gateway: Gateway) -> Snapshot | None:
    with suppress(UpstreamError, ValueError):
        path, target = gateway.settings.internal_socket, b"/internal/v1/metrics"
        status, content = await internal.call(path, b"GET", target, seconds=_NEIGHBOUR_SECONDS)
        if status == 200:
            snapshot: Snapshot = json.loads(content)
            return snapshot
    return None


def _platform(run_dir: str, up: dict[str, bool]) -> Snapshot:
    """Return what the supervisor's record and the kernel tell about the processes."""
    registry = Registry(PLATFORM)
    record = SupervisorRecord.read(Path(run_dir))
    identities = {name: item.identity for name, item in record.services.items()} if record else {}
    if record is not None:
        identities["supervisor"] = record.identity
    memory: dict[Labels, float] = {}
    alive: dict[Labels, float] = {}
    for name in PROCESSES:
        identity = identities.get(name)
        usage = usage_of(identity.pid) if identity is not None and identity.alive() else None
        alive[(name,)] = float(usage is not None and up.get(name, True))
        if usage is not None:
            memory[(name,)] = float(usage.memory)
            registry.counter("nagaya_process_cpu_seconds_total").inc(name, by=usage.seconds)
        if record is not None and name in record.services:
            registry.counter("nagaya_process_restarts_total").inc(name, by=record.services[name].restarts)
    registry.gauge("nagaya_up", lambda: alive)
    registry.gauge("nagaya_process_memory_bytes", lambda: memory)
    registry.gauge("nagaya_process_open_files", lambda: {(): float(sum(1 for _ in os.scandir("/proc/self/fd")))})
    build = record.build if record else ""
    registry.gauge("nagaya_build_info", lambda: {(nagaya.__version__, platform.python_version(), build): 1.0})
    return registry.snapshot()
