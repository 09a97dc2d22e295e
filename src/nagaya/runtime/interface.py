"""What the api asks of whatever runs tenants: one protocol, so that a host and a cluster look alike."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self
from uuid import UUID

Desired = Literal["running", "stopped", "deleted"]
ENGINE_PATTERN = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,19}\Z")
STATES = ("stopped", "asleep", "starting", "awake", "stopping", "failed", "deleted")
LIVE_FIELDS = frozenset({"generation", "desired", "hibernate", "idle_seconds"})
"""Fields of a spec whose change needs no new process."""


class RuntimeFailure(Exception):
    """A request to the runtime failed. `code` is the protocol's word, the message a sentence for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class TenantSpec:
    """What a tenant should be (`docs/reference/internals.md`, tenant spec). Times in seconds, sizes in bytes."""

    id: str
    organization_id: str
    organization: str
    tenant: str
    engine: str
    generation: int
    desired: Desired
    public_url: str
    server_url: str
    root_path: str
    api_url: str
    dashboard_url: str
    hibernate: bool = True
    idle_seconds: float = 900
    max_in_flight: int = 64
    max_body_bytes: int = 104_857_600
    project: dict[str, str] = field(default_factory=dict)
    system_user_id: str = ""
    policy_max_age: float = 86_400
    secrets: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if str(UUID(self.id)) != self.id:
            raise ValueError(f"the tenant id {self.id!r} is not a UUID in its usual form")
        if not ENGINE_PATTERN.match(self.engine):
            raise ValueError(f"{self.engine!r} is not an engine version")
        if self.desired not in ("running", "stopped", "deleted"):
            raise ValueError(f"desired is {self.desired!r}; it must be running, stopped or deleted")
        if self.generation < 0 or self.idle_seconds <= 0:
            raise ValueError("generation must not be negative and idle_seconds must be positive")

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Build a spec from its JSON object; fields that a newer api may add are ignored.

        Raises ValueError with a sentence when a field is missing or wrong.
        """
        known = {item.name: item for item in dataclasses.fields(cls)}
        required = {name for name, item in known.items() if item.default is item.default_factory is dataclasses.MISSING}
        if missing := sorted(required - set(value)):
            raise ValueError(f"the tenant spec lacks {', '.join(missing)}")
        try:
            return cls(**{name: value[name] for name in known if name in value})
        except (TypeError, AttributeError) as error:
            raise ValueError(f"the tenant spec has a field of the wrong type: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of this spec."""
        return dataclasses.asdict(self)

    def limits(self) -> dict[str, int]:
        """Return what the gateway must know of it besides its state."""
        return {"max_in_flight": self.max_in_flight, "max_body_bytes": self.max_body_bytes}

    def needs_new_process(self, other: TenantSpec) -> bool:
        """Tell whether a process started for `self` must be replaced to become `other`."""
        mine, theirs = self.to_json(), other.to_json()
        return any(mine[name] != theirs[name] for name in mine if name not in LIVE_FIELDS)


@dataclass(frozen=True, kw_only=True)
class TenantState:
    """What a tenant is now. Times are Unix seconds, `timings` milliseconds per phase of the last start."""

    id: str
    organization: str
    tenant: str
    engine: str
    generation: int
    state: str
    socket: str | None = None
    pid: int | None = None
    reason: str | None = None
    restarts: int = 0
    last_activity: float | None = None
    policy_version: int | None = None
    timings: dict[str, float] = field(default_factory=dict)
    info: dict[str, Any] | None = None
    public_url: str | None = None
    server_url: str | None = None
    """Addresses of the stored spec: by them the api notices that its settings have changed."""

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Build a state from the keeper's answer, ignoring fields that a newer keeper may add."""
        return cls(**{item.name: value[item.name] for item in dataclasses.fields(cls) if item.name in value})

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the protocol carries; it shares its parts with this state."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}


@dataclass(frozen=True, kw_only=True)
class Awake:
    """The answer to a wake: where the tenant listens and what its start took (milliseconds per phase)."""

    socket: str
    pid: int
    timings: dict[str, float] = field(default_factory=dict)


class Runtime(Protocol):
    """Runs tenants. Every method raises RuntimeFailure with a code of the keeper protocol."""

    async def hello(self) -> dict[str, Any]:
        """Return version, process id and engines of the runtime."""
        ...

    async def apply(self, spec: TenantSpec) -> TenantState:
        """Store `spec` durably and drive the tenant towards it; an older generation is ignored."""
        ...

    async def policy(self, tenant: str, policy: dict[str, Any]) -> None:
        """Store the newest policy document of a tenant; an older version is ignored."""
        ...

    async def wake(self, tenant: str) -> Awake:
        """Return once the tenant answers requests."""
        ...

    async def sleep(self, tenant: str) -> TenantState:
        """Stop the tenant's process in order; its next wake starts it again."""
        ...

    async def restart(self, tenant: str) -> TenantState:
        """Stop and start, and forget earlier failures."""
        ...

    async def purge(self, tenant: str) -> None:
        """Remove the tenant's files and record for ever; idempotent."""
        ...

    async def logs(self, tenant: str, lines: int = 200) -> list[str]:
        """Return the last lines of the tenant's log."""
        ...

    async def list(self) -> list[TenantState]:
        """Return the states of all tenants."""
        ...

    async def get(self, tenant: str) -> TenantState:
        """Return the state of one tenant."""
        ...

    def events(self) -> AsyncIterator[dict[str, Any]]:
        """Yield `route`, `synced` and `gone` events; ends when the connection to the runtime is lost."""
        ...
