"""Runtimes that behave in one particular way, named by it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from nagaya.runtime.interface import Awake, RuntimeFailure, TenantSpec, TenantState

ENGINES = ("0.94.6", "0.98.0")


class InstantRuntime:
    """Does what it is told at once, and reports it. Remembers every call with its time."""

    def __init__(self, engines: tuple[str, ...] = ENGINES) -> None:
        self.engines = engines
        self.damaged: dict[str, str] = {}
        """Sentences by version."""
        self.specs: dict[str, TenantSpec] = {}
        self.policies: dict[str, dict[str, Any]] = {}
        self.states: dict[str, str] = {}
        self.reasons: dict[str, str] = {}
        self.purged: list[str] = []
        self.calls: list[tuple[float, str, str]] = []
        self._listeners: list[asyncio.Queue[dict[str, Any] | None]] = []

    def _called(self, method: str, tenant: str) -> None:
        self.calls.append((time.perf_counter(), method, tenant))

    def state_of(self, tenant: str) -> TenantState:
        if tenant not in self.specs:
            raise RuntimeFailure("unknown", "There is no such tenant.")
        spec = self.specs[tenant]
        policy = self.policies.get(tenant)
        return TenantState(
            id=tenant,
            organization=spec.organization,
            tenant=spec.tenant,
            engine=spec.engine,
            generation=spec.generation,
            state=self.states[tenant],
            reason=self.reasons.get(tenant),
            last_activity=time.time(),
            policy_version=None if policy is None else policy["version"],
            public_url=spec.public_url,
            server_url=spec.server_url,
        )

    def report(self, tenant: str, state: str, reason: str | None = None) -> None:
        self.states[tenant] = state
        if reason:
            self.reasons[tenant] = reason
        self.publish({"event": "route", **self.state_of(tenant).to_json()})

    def publish(self, event: dict[str, Any] | None) -> None:
        for listener in self._listeners:
            listener.put_nowait(event)

    def disconnect(self) -> None:
        """Ends the subscriptions, as a keeper that is restarted does."""
        self.publish(None)

    async def hello(self) -> dict[str, Any]:
        return {"version": "0.1.0", "pid": 1, "engines": self.described()}

    def described(self) -> list[dict[str, Any]]:
        return [
            {
                "version": each,
                "state": "damaged" if each in self.damaged else "ready",
                "mode": "zygote",
                "reason": self.damaged.get(each, ""),
            }
            for each in self.engines
        ]

    def change_engines(self, *engines: str, **damaged: str) -> None:
        """Somebody installs, removes or damages engines; keywords are versions with underscores."""
        self.engines = engines
        self.damaged = {version.strip("_").replace("_", "."): reason for version, reason in damaged.items()}
        self.publish({"event": "engines", "engines": self.described()})

    async def apply(self, spec: TenantSpec) -> TenantState:
        self._called("apply", spec.id)
        known = self.specs.get(spec.id)
        if known is None or known.generation <= spec.generation:
            self.specs[spec.id] = spec
            if spec.desired != "running":
                self.report(spec.id, "stopped" if spec.desired == "stopped" else "deleted")
            elif self.states.get(spec.id) != "awake":
                self.report(spec.id, "asleep")
        return self.state_of(spec.id)

    async def policy(self, tenant: str, policy: dict[str, Any]) -> None:
        self._called("policy", tenant)
        if self.policies.get(tenant, {"version": -1})["version"] < policy["version"]:
            self.policies[tenant] = policy

    async def wake(self, tenant: str) -> Awake:
        self._called("wake", tenant)
        spec = self.specs.get(tenant)
        if spec is None:
            raise RuntimeFailure("unknown", "There is no such tenant.")
        if spec.desired != "running":
            raise RuntimeFailure("deactivated" if spec.desired == "stopped" else "deleted", "It is not to run.")
        await self.start(tenant)
        self.report(tenant, "awake")
        return Awake(socket="/nowhere", pid=1)

    async def start(self, tenant: str) -> None:
        self.report(tenant, "starting")

    async def sleep(self, tenant: str) -> TenantState:
        self.report(tenant, "asleep")
        return self.state_of(tenant)

    async def restart(self, tenant: str) -> TenantState:
        self._called("restart", tenant)
        self.reasons.pop(tenant, None)
        self.report(tenant, "asleep")
        return self.state_of(tenant)

    async def purge(self, tenant: str) -> None:
        self._called("purge", tenant)
        self.specs.pop(tenant, None)
        self.purged.append(tenant)

    async def logs(self, tenant: str, lines: int = 200) -> list[str]:
        self.state_of(tenant)
        return [f"line {number}" for number in range(min(lines, 3))]

    async def list(self) -> list[TenantState]:
        return [self.state_of(each) for each in self.specs]

    async def get(self, tenant: str) -> TenantState:
        return self.state_of(tenant)

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._listeners.append(queue)
        try:
            for tenant in list(self.specs):
                yield {"event": "route", **self.state_of(tenant).to_json()}
            yield {"event": "synced"}
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.remove(queue)


class SlowRuntime(InstantRuntime):
    """Starts tenants only when it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released = asyncio.Event()

    async def start(self, tenant: str) -> None:
        await super().start(tenant)
        await self.released.wait()


class DyingRuntime(InstantRuntime):
    """Every tenant dies while it starts, until it is healed."""

    healed = False

    async def start(self, tenant: str) -> None:
        await super().start(tenant)
        if not self.healed:
            reason = "the process ended with signal 9"
            self.report(tenant, "failed", reason)
            raise RuntimeFailure("failed", f"This tenant does not start: {reason}")


class LyingRuntime(InstantRuntime):
    """Reports nonsense beside the truth: tenants that nobody made, old generations, states that do not exist."""

    def publish(self, event: dict[str, Any] | None) -> None:
        super().publish(event)
        if event is not None and event.get("event") == "route":
            super().publish({**event, "id": "00000000-0000-4000-8000-000000000000", "state": "failed"})
            super().publish({**event, "id": "not a uuid", "state": "awake"})
            super().publish({**event, "generation": event["generation"] - 1, "state": "failed", "reason": "a lie"})
            super().publish({**event, "generation": event["generation"] - 1, "state": "deleted"})
            super().publish({"event": "gone", "id": event["id"]})
            super().publish({"event": "nonsense"})


class AbsentRuntime(InstantRuntime):
    """Does not answer until it is there."""

    present = False

    def _need(self) -> None:
        if not self.present:
            raise RuntimeFailure("unreachable", "The keeper does not answer.")

    async def hello(self) -> dict[str, Any]:
        self._need()
        return await super().hello()

    async def apply(self, spec: TenantSpec) -> TenantState:
        self._need()
        return await super().apply(spec)

    async def policy(self, tenant: str, policy: dict[str, Any]) -> None:
        self._need()
        await super().policy(tenant, policy)

    async def logs(self, tenant: str, lines: int = 200) -> list[str]:
        self._need()
        return await super().logs(tenant, lines)
