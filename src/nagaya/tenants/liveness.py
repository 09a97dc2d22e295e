"""Looks at enrolled servers now and then, and writes what was found; nothing else waits for it.

Stock servers report once, at their start, so whether one is still there has to be asked (wire contract, 3.3). Several
api processes share the work by the lease of each tenant. Who does not answer is asked less and less often.
"""

import asyncio
import datetime as dt
import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
from sqlalchemy import select

from nagaya.db.engine import Database
from nagaya.http.transactions import UnitOfWork
from nagaya.tenants import enrollment, looking, repository
from nagaya.tenants.addresses import is_loopback
from nagaya.tenants.looking import Expected, Look, Resolver
from nagaya.tenants.models import Tenant
from nagaya.tenants.platform import TenantPlatform
from nagaya.tenants.purge import mark_purged

log = structlog.get_logger("nagaya.tenants.liveness")

CONCURRENCY: Final = 8
BATCH: Final = 100
LEASE: Final = dt.timedelta(seconds=4 * looking.TOTAL_SECONDS)
MOST_SECONDS: Final = 3600
TICK_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Due:
    """One tenant for which something is to be done: a look at its server, or the end of its seven days."""

    tenant_id: uuid.UUID
    expected: Expected | None


class Liveness:
    """The looks of one api process.

    Args:
        database: The control database.
        platform: Addresses, and the name of this process in leases.
        now: The clock.
        resolver: Resolves names.
    """

    def __init__(
        self,
        database: Database,
        platform: TenantPlatform,
        now: Callable[[], dt.datetime],
        resolver: Resolver = looking.resolve,
    ) -> None:
        self._database = database
        self._platform = platform
        self._now = now
        self._resolver = resolver
        self._loopback = is_loopback(platform.addresses.public_url)

    async def run(self) -> None:
        """Looks for ever."""
        while True:
            try:
                await self.once()
            except Exception:
                log.exception("enrolled servers could not be looked at")
            await asyncio.sleep(TICK_SECONDS)

    async def once(self) -> int:
        """Looks at every server that is due, a few at a time.

        Returns:
            At how many.
        """
        due = await asyncio.to_thread(self._due)
        slots = asyncio.Semaphore(CONCURRENCY)

        async def one(each: Due) -> bool:
            async with slots:
                return await self._one(each)

        return sum(await asyncio.gather(*map(one, due)))

    async def _one(self, due: Due) -> bool:
        if due.expected is None:
            await asyncio.to_thread(mark_purged, self._database, due.tenant_id, self._now())
            return False
        if not await asyncio.to_thread(self._take, due.tenant_id):
            return False
        found = await looking.look(due.expected, self._now(), loopback=self._loopback, resolver=self._resolver)
        await asyncio.to_thread(self._write, due.expected, found)
        return True

    def _due(self) -> list[Due]:
        now = self._now()
        statement = select(Tenant).where(repository.due_for_a_look(now)).order_by(Tenant.next_poll).limit(BATCH)
        with self._database.read() as session:
            return [
                Due(each.id, None if each.status == "deleted" else _expected(each))
                for each in session.scalars(statement)
            ]

    def _take(self, tenant_id: uuid.UUID) -> bool:
        now = self._now()
        with UnitOfWork(self._database) as work:
            return repository.take_lease(work.session, tenant_id, self._platform.owner, now, now + LEASE)

    def _write(self, expected: Expected, found: Look) -> None:
        now = self._now()
        with UnitOfWork(self._database) as work:
            tenant = work.session.get(Tenant, expected.tenant_id, with_for_update=True)
            if tenant is None:
                return
            if tenant.lease_owner == self._platform.owner:
                tenant.lease_owner = tenant.lease_until = None
            # Meanwhile it may have been deactivated, or have reported something else.
            if tenant.desired_state == "available" and _expected(tenant) == expected:
                self._note(tenant, found, now)
                enrollment.take_look(work, tenant, found, now)

    def _note(self, tenant: Tenant, found: Look, now: dt.datetime) -> None:
        tenant.poll_failures = 0 if found.alive else tenant.poll_failures + 1
        seconds = min(self._platform.liveness_seconds * 2 ** min(tenant.poll_failures, 16), MOST_SECONDS)
        # Spread, so that servers that were enrolled or lost together are not looked at together for ever.
        spread = random.uniform(0.9, 1.1)  # noqa: S311 - nobody gains by guessing it.
        tenant.next_poll = now + dt.timedelta(seconds=max(seconds, self._platform.liveness_seconds) * spread)
        if found.alive:
            tenant.last_seen = now


def _expected(tenant: Tenant) -> Expected:
    return Expected(tenant.id, tenant.server_url or "", tenant.reported_version or "")
