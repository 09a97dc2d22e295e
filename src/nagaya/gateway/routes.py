"""The routing table: which tenants exist, in what state, and at which socket, as the keeper last told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nagaya.gateway.limits import Gate


@dataclass(slots=True, eq=False)
class Route:
    """What the gateway knows about one tenant.

    `draining` is set from the moment at which the keeper was told that nothing is in flight: from then on the socket
    may belong to a process that is about to stop, so requests go through `wake`.
    """

    id: str
    organization: str
    tenant: str
    state: str
    socket: str | None
    reason: str
    info: bytes | None
    max_body_bytes: int
    gate: Gate
    draining: bool = False

    @property
    def servable(self) -> bool:
        """Whether requests may go straight to the socket."""
        return self.state == "awake" and self.socket is not None and not self.draining

    @property
    def name(self) -> str:
        """`organization/tenant`, for sentences."""
        return f"{self.organization}/{self.tenant}"


class RouteTable:
    """All routes, by name and by id. Keeps the last known table while the keeper is away."""

    def __init__(self, *, default_max_in_flight: int, default_max_body_bytes: int, queue: int) -> None:
        self._default_max_in_flight = default_max_in_flight
        self._default_max_body_bytes = default_max_body_bytes
        self._queue = queue
        self._by_id: dict[str, Route] = {}
        self._by_name: dict[tuple[bytes, bytes], Route] = {}
        self._mentioned: set[str] | None = None
        self._awaited: dict[tuple[bytes, bytes], asyncio.Event] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def routes(self) -> Iterable[Route]:
        """All routes."""
        return self._by_id.values()

    def find(self, organization: bytes, tenant: bytes) -> Route | None:
        """The route of a name pair as it stands in the path, or None."""
        return self._by_name.get((organization, tenant))

    async def appear(self, organization: bytes, tenant: bytes, seconds: float) -> Route | None:
        """Wait until the keeper tells of a name; the route, or None after `seconds`."""
        key = (organization, tenant)
        if key not in self._by_name:
            told = self._awaited.setdefault(key, asyncio.Event())
            try:
                async with asyncio.timeout(seconds):
                    await told.wait()
            except TimeoutError:
                return None
        return self._by_name.get(key)

    def get(self, tenant_id: str) -> Route | None:
        """The route of a tenant's id, or None."""
        return self._by_id.get(tenant_id)

    def begin_sync(self) -> None:
        """A new subscription starts: what it does not mention until `end_sync` is gone."""
        self._mentioned = set()

    def end_sync(self) -> list[Route]:
        """The subscription told everything that exists; returns the routes that vanished."""
        mentioned, self._mentioned = self._mentioned, None
        if mentioned is None:
            return []
        return [route for tenant_id in set(self._by_id) - mentioned if (route := self.remove(tenant_id)) is not None]

    def update(self, event: Mapping[str, Any]) -> tuple[Route, str | None]:
        """Take over a `route` event; returns the route and the socket it had before, if that one is no longer valid."""
        tenant_id, state = str(event["id"]), str(event["state"])
        organization, tenant = str(event["organization"]), str(event["tenant"])
        if self._mentioned is not None:
            self._mentioned.add(tenant_id)
        limit = int(event.get("max_in_flight") or self._default_max_in_flight)
        route = self._by_id.get(tenant_id)
        stale: str | None = None
        if route is None:
            gate = Gate(limit, self._queue)
            route = Route(tenant_id, "", "", "", None, "", None, self._default_max_body_bytes, gate)
            self._by_id[tenant_id] = route
        else:
            route.gate.limit = limit
            if route.socket is not None and (route.socket != event.get("socket") or state != "awake"):
                stale = route.socket
        self._rename(route, organization, tenant)
        route.state = state
        route.socket = event.get("socket")
        route.reason = str(event.get("reason") or "")
        route.max_body_bytes = int(event.get("max_body_bytes") or self._default_max_body_bytes)
        info = event.get("info")
        if info is not None:
            route.info = info.encode() if isinstance(info, str) else json.dumps(info).encode()
        # An "awake" may have been sent before the keeper read our consent; only `wake` proves that it still holds.
        route.draining = route.draining and state == "awake"
        return route, stale

    def remove(self, tenant_id: str) -> Route | None:
        """Forget a tenant."""
        route = self._by_id.pop(tenant_id, None)
        if route is not None:
            self._unname(route)
        return route

    def _rename(self, route: Route, organization: str, tenant: str) -> None:
        if (route.organization, route.tenant) == (organization, tenant):
            return
        self._unname(route)
        route.organization, route.tenant = organization, tenant
        key = (organization.encode(), tenant.encode())
        self._by_name[key] = route
        if (awaited := self._awaited.pop(key, None)) is not None:
            awaited.set()

    def _unname(self, route: Route) -> None:
        """Release the name, unless a newer tenant has taken it over meanwhile."""
        key = (route.organization.encode(), route.tenant.encode())
        if self._by_name.get(key) is route:
            del self._by_name[key]
