"""Which tenants are being used: counts the requests that keep a tenant awake and tells the keeper once a second."""

from __future__ import annotations

import asyncio
from typing import Any


class _Use:
    """One tenant's use."""

    __slots__ = ("changed", "in_flight", "last")

    def __init__(self, now: float) -> None:
        self.in_flight = 0
        self.last = now
        self.changed = True


class Activity:
    """Counts per tenant; only requests that should keep it awake are told to it."""

    def __init__(self) -> None:
        self._uses: dict[str, _Use] = {}

    def begin(self, tenant_id: str) -> None:
        """A request that counts starts."""
        now = asyncio.get_running_loop().time()
        use = self._uses.get(tenant_id)
        if use is None:
            use = self._uses[tenant_id] = _Use(now)
        use.in_flight += 1
        use.last = now
        use.changed = True

    def end(self, tenant_id: str) -> None:
        """It ended."""
        use = self._uses.get(tenant_id)
        if use is not None:
            use.in_flight -= 1
            use.last = asyncio.get_running_loop().time()
            use.changed = True

    def forget(self, tenant_id: str) -> None:
        """The tenant is gone."""
        self._uses.pop(tenant_id, None)

    def repeat(self) -> None:
        """A new keeper knows nothing: tell it everything once."""
        for use in self._uses.values():
            use.changed = True

    def report(self) -> dict[str, dict[str, Any]]:
        """What is new since the last report, by tenant: requests in flight and seconds since the last one."""
        now = asyncio.get_running_loop().time()
        news: dict[str, dict[str, Any]] = {}
        for tenant_id, use in self._uses.items():
            if use.changed or use.in_flight:
                idle = 0.0 if use.in_flight else round(now - use.last, 3)
                news[tenant_id] = {"in_flight": use.in_flight, "idle": idle}
                use.changed = False
        return news
