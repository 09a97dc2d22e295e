"""Idle sleep: finds tenants without traffic and, after every gateway has agreed, stops their processes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

from nagaya.runtime.local.tenants import Tenant

logger = logging.getLogger(__name__)

LONGEST_NAP = 3600.0
AFTER_REFUSAL = 5.0
"""Seconds until a gateway that refused (or did not answer) is asked again."""


class Gateway(Protocol):
    """A connected gateway."""

    def push(self, event: dict[str, Any]) -> None:
        """Send an event."""
        ...


class Sleeper:
    """Watches idle times. It sleeps itself until the next tenant can be due, so an idle keeper costs nothing."""

    def __init__(
        self, tenants: Callable[[], Iterable[Tenant]], gateways: Callable[[], list[Gateway]], timeout: float
    ) -> None:
        self._tenants, self._gateways, self._timeout = tenants, gateways, timeout
        self._changed = asyncio.Event()
        self._asked: dict[str, dict[Gateway, bool | None]] = {}
        self._answered = asyncio.Condition()
        self._not_before: dict[str, float] = {}
        self._busy: dict[str, asyncio.Task[None]] = {}

    def changed(self) -> None:
        """Look again: a tenant woke or a setting changed."""
        self._changed.set()

    async def run(self) -> None:
        """Put idle tenants to sleep, for ever."""
        while True:
            self._changed.clear()
            nap = LONGEST_NAP
            for tenant in self._tenants():
                due = self._due(tenant)
                if due is None or tenant.id in self._busy:
                    continue
                if due > 0:
                    nap = min(nap, due)
                    continue
                task = asyncio.create_task(self._put_to_sleep(tenant), name=f"sleep-{tenant.id}")
                self._busy[tenant.id] = task
                task.add_done_callback(partial(self._done, tenant.id))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(nap, 0.05))

    def _done(self, tenant: str, _task: asyncio.Task[None]) -> None:
        del self._busy[tenant]
        self.changed()

    def _due(self, tenant: Tenant) -> float | None:
        """Return in how many seconds a tenant may be idle for long enough; None when it never sleeps."""
        spec = tenant.spec
        if tenant.state != "awake" or spec is None or not spec.hibernate:
            self._not_before.pop(tenant.id, None)
            return None
        if tenant.in_flight:
            return spec.idle_seconds
        due = tenant.last_activity + spec.idle_seconds - time.time()
        return max(due, self._not_before.get(tenant.id, 0.0) - time.monotonic())

    async def _put_to_sleep(self, tenant: Tenant) -> None:
        assert tenant.spec is not None
        attempts = tenant.host.metrics.counter("nagaya_sleeps_total")
        if not await self._quiesce(tenant.id):
            attempts.inc("refused")
            self._not_before[tenant.id] = time.monotonic() + AFTER_REFUSAL
            tenant.host.publish(tenant.route())  # A gateway that agreed may use its connection again.
            return
        if await tenant.sleep_if_idle(tenant.spec.idle_seconds):
            attempts.inc("asleep")
            logger.info("tenant %s sleeps", tenant.id)
        else:
            attempts.inc("busy")
            tenant.host.publish(tenant.route())

    async def _quiesce(self, tenant: str) -> bool:
        """Ask every gateway to let go of a tenant; True when all agreed (also when there is none: no traffic then)."""
        answers: dict[Gateway, bool | None] = dict.fromkeys(self._gateways())
        self._asked[tenant] = answers
        try:
            for gateway in answers:
                gateway.push({"event": "quiesce", "id": tenant})
            async with asyncio.timeout(self._timeout), self._answered:
                await self._answered.wait_for(lambda: None not in answers.values())
        except TimeoutError:
            return False
        finally:
            del self._asked[tenant]
        return all(answers.values())

    async def quiesced(self, gateway: Gateway, tenant: str, ok: bool) -> None:
        """Take a gateway's answer; one that nobody asked for is ignored."""
        async with self._answered:
            answers = self._asked.get(tenant)
            if answers is not None and gateway in answers:
                answers[gateway] = ok
            self._answered.notify_all()

    async def gateway_left(self, gateway: Gateway) -> None:
        """A gateway that is gone carries no traffic: it counts as agreeing."""
        async with self._answered:
            for answers in self._asked.values():
                answers.pop(gateway, None)
            self._answered.notify_all()

    def activity(self, tenants: dict[str, dict[str, Any]], lookup: Callable[[str], Tenant | None]) -> None:
        """Take a gateway's report of requests in flight and seconds of idleness."""
        now = time.time()
        for name, report in tenants.items():
            tenant = lookup(name)
            if tenant is not None:
                tenant.in_flight = max(0, int(report.get("in_flight", 0)))
                tenant.used(now - max(0.0, float(report.get("idle", 0))))
