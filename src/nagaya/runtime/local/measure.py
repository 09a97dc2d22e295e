"""What the keeper counts: starts by phase and outcome, and the states of tenants and engines when somebody looks."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from nagaya.metrics.catalogue import SPAWN_PHASES
from nagaya.metrics.registry import Labels, Registry
from nagaya.runtime.interface import RuntimeFailure
from nagaya.runtime.local.usage import usage_of

if TYPE_CHECKING:
    from nagaya.runtime.local.keeper import Keeper


def started(metrics: Registry, how: str, timings: dict[str, float]) -> None:
    """Note a start that succeeded by the way `how`; `timings` are milliseconds by phase."""
    metrics.counter("nagaya_spawns_total").inc(how)
    seconds = metrics.histogram("nagaya_spawn_seconds")
    for phase in SPAWN_PHASES:
        if phase in timings:
            seconds.observe(timings[phase] / 1000, phase)


def start_failed(metrics: Registry, error: BaseException) -> None:
    """Note why a start did not succeed."""
    if isinstance(error, asyncio.CancelledError):
        reason = "interrupted"
    elif isinstance(error, RuntimeFailure):
        reason = "timeout" if error.code == "timeout" else "refused"
    else:
        reason = "failed"
    metrics.counter("nagaya_spawns_total").inc(reason)


def observe(keeper: Keeper) -> None:
    """Let the gauges read the keeper's state."""

    def tenants() -> dict[Labels, float]:
        states = Counter(tenant.state for tenant in keeper.tenants.values())
        return {(state,): float(count) for state, count in states.items()}

    def engines() -> dict[Labels, float]:
        return {(engine["version"], engine["state"]): 1.0 for engine in keeper.pool.describe()}

    def usage(of: str) -> dict[Labels, float]:
        pids = [tenant.process.pid for tenant in keeper.tenants.values() if tenant.process is not None]
        used = [found for pid in pids if (found := usage_of(pid)) is not None]
        return {(): float(sum(item.memory if of == "memory" else item.seconds for item in used))}

    metrics, limiter = keeper.host.metrics, keeper.host.limiter
    for name in ("nagaya_spawns_total", "nagaya_sleeps_total", "nagaya_tenant_crashes_total"):
        metrics.counter(name)
    metrics.histogram("nagaya_spawn_seconds")
    metrics.gauge("nagaya_tenants", tenants)
    metrics.gauge("nagaya_engine_state", engines)
    metrics.gauge(
        "nagaya_wake_slots", lambda: {("running",): float(limiter.running), ("waiting",): float(limiter.waiting)}
    )
    metrics.gauge("nagaya_tenants_memory_bytes", lambda: usage("memory"))
    metrics.gauge("nagaya_tenants_cpu_seconds", lambda: usage("seconds"))
