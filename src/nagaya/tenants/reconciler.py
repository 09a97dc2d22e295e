"""Drives every tenant from what is to what is wanted: level-triggered, idempotent, and safe to kill at any instant.

Whoever changes a tenant only writes the wanted state; commits wake the reconciler of the same process at once, those of
other processes notice the signal within a second, and a slow sweep finds whatever was missed. A lease keeps two
processes from driving one tenant, and ends by itself when its holder dies.
"""

import asyncio
import datetime as dt
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import structlog
from sqlalchemy import select

from nagaya.db.engine import Database
from nagaya.db.errors import is_outage
from nagaya.http.transactions import UnitOfWork
from nagaya.operations import service as operations
from nagaya.runtime.interface import RuntimeFailure, TenantSpec, TenantState
from nagaya.tenants import observation, repository
from nagaya.tenants.lifecycle import Event, State, state_of
from nagaya.tenants.models import Tenant
from nagaya.tenants.platform import TenantPlatform
from nagaya.tenants.publisher import PolicyPublisher
from nagaya.tenants.purge import mark_purged
from nagaya.tenants.spec import specification

log = structlog.get_logger("nagaya.tenants.reconciler")

CONCURRENCY = 16
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)
PATIENCE = 5
"""Attempts to start a tenant that may time out before it counts as failed."""
FINAL = frozenset({"failed"})
"""Codes of the runtime that say that trying again at once is useless."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done for one tenant, read in one transaction."""

    state: State
    spec: TenantSpec
    applied_generation: int
    purge: bool
    lease_owner: str | None
    lease_until: dt.datetime | None

    @property
    def due(self) -> bool:
        """Whether there is anything to do."""
        moving = self.state in {State.DEPLOYING, State.DEACTIVATING, State.DELETING}
        return moving or self.purge or self.applied_generation < self.spec.generation


class Reconciler:
    """The reconciler of one api process. Used on the event loop only.

    Args:
        database: The control database.
        platform: Runtime, addresses, and the name of this process in leases.
        publisher: Gives the runtime the policy of a tenant before it is started.
        now: The clock.
        checkpoint: Called with the name of each step after it; tests end the process there.
    """

    def __init__(
        self,
        database: Database,
        platform: TenantPlatform,
        publisher: PolicyPublisher,
        now: Callable[[], dt.datetime],
        checkpoint: Callable[[str], None] = lambda _step: None,
    ) -> None:
        self._database = database
        self._platform = platform
        self._runtime = platform.runtime
        self._publisher = publisher
        self._now = now
        self._checkpoint = checkpoint
        self._driving: dict[uuid.UUID, asyncio.Task[None]] = {}
        self._again: set[uuid.UUID] = set()
        self._attempts: dict[uuid.UUID, int] = {}
        self._timers: dict[uuid.UUID, asyncio.TimerHandle] = {}
        self._slots = asyncio.Semaphore(CONCURRENCY)

    def wake(self, tenant_ids: Iterable[uuid.UUID]) -> None:
        """Looks at tenants now; at one that is being looked at, once more afterwards."""
        for tenant_id in tenant_ids:
            if tenant_id in self._driving:
                self._again.add(tenant_id)
                continue
            if (timer := self._timers.pop(tenant_id, None)) is not None:
                timer.cancel()
            task = asyncio.create_task(self._drive(tenant_id), name=f"reconcile {tenant_id}")
            self._driving[tenant_id] = task
            task.add_done_callback(partial(self._ended, tenant_id))

    async def sweep(self) -> None:
        """Looks at every tenant for which something is to be done."""
        now = self._now()

        def read() -> list[uuid.UUID]:
            with self._database.read() as session:
                return list(session.scalars(select(Tenant.id).where(repository.unsettled(now))))

        self.wake(each for each in await asyncio.to_thread(read) if each not in self._timers)

    async def stop(self) -> None:
        """Ends all work where it stands; the next process continues it."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._again.clear()
        tasks = list(self._driving.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, tenant_id: uuid.UUID, _task: asyncio.Task[None]) -> None:
        del self._driving[tenant_id]
        if tenant_id in self._again:
            self._again.discard(tenant_id)
            self.wake([tenant_id])

    def _later(self, tenant_id: uuid.UUID, seconds: float) -> None:
        def fire() -> None:
            self._timers.pop(tenant_id, None)
            self.wake([tenant_id])

        if (timer := self._timers.pop(tenant_id, None)) is not None:
            timer.cancel()
        self._timers[tenant_id] = asyncio.get_running_loop().call_later(seconds, fire)

    async def _drive(self, tenant_id: uuid.UUID) -> None:
        async with self._slots:
            try:
                try:
                    await self._attempt(tenant_id)
                except RuntimeFailure as failure:
                    await self._failed(tenant_id, failure)
            except Exception as error:
                if is_outage(error):
                    log.info("reconciling waits for the database", tenant_id=str(tenant_id))
                else:
                    log.exception("reconciling failed", tenant_id=str(tenant_id))
                self._later(tenant_id, RETRY_SECONDS[-1])

    async def _attempt(self, tenant_id: uuid.UUID) -> None:
        task = await asyncio.to_thread(self._read, tenant_id)
        if task is None or not task.due:
            self._attempts.pop(tenant_id, None)
            return
        if not await self._leased(tenant_id, task):
            return
        # Another process may have finished the work between our look and our lease.
        task = await asyncio.to_thread(self._read, tenant_id)
        if task is None or not task.due:
            await asyncio.to_thread(self._release, tenant_id)
            return
        renewal = asyncio.create_task(self._renew(tenant_id))
        try:
            await self._work(tenant_id, task)
            self._attempts.pop(tenant_id, None)
        finally:
            renewal.cancel()

    def _read(self, tenant_id: uuid.UUID) -> Task | None:
        with self._database.read() as session:
            row = repository.with_organization(session, tenant_id)
            if row is None or row[0].purged is not None or row[0].enrolled:
                return None
            tenant, organization = row
            state = state_of(tenant.desired_state, tenant.status)
            overdue = tenant.purge_after is not None and tenant.purge_after <= self._now()
            return Task(
                state=state,
                spec=specification(tenant, organization, self._platform.addresses, self._platform.defaults),
                applied_generation=tenant.applied_generation,
                purge=state is State.DELETED and overdue,
                lease_owner=tenant.lease_owner,
                lease_until=tenant.lease_until,
            )

    async def _leased(self, tenant_id: uuid.UUID, task: Task) -> bool:
        """Takes the lease, unless the tenant was born with ours; otherwise comes back when the other one's ends."""
        now = self._now()
        if task.lease_owner == self._platform.owner and task.lease_until is not None and task.lease_until > now:
            return True
        if await asyncio.to_thread(self._take, tenant_id):
            self._checkpoint("leased")
            return True
        rest = 0.0 if task.lease_until is None else (task.lease_until - now).total_seconds()
        self._later(tenant_id, max(RETRY_SECONDS[0], rest))
        return False

    def _take(self, tenant_id: uuid.UUID) -> bool:
        now = self._now()
        until = now + dt.timedelta(seconds=self._platform.lease_seconds)
        with UnitOfWork(self._database) as work:
            return repository.take_lease(work.session, tenant_id, self._platform.owner, now, until)

    def _release(self, tenant_id: uuid.UUID) -> None:
        with UnitOfWork(self._database) as work:
            repository.drop_lease(work.session, tenant_id, self._platform.owner)

    async def _renew(self, tenant_id: uuid.UUID) -> None:
        def renew() -> None:
            until = self._now() + dt.timedelta(seconds=self._platform.lease_seconds)
            with UnitOfWork(self._database) as work:
                repository.renew_lease(work.session, tenant_id, self._platform.owner, until)

        while True:
            await asyncio.sleep(self._platform.lease_seconds / 3)
            try:
                await asyncio.to_thread(renew)
            except Exception as error:
                # Without the database nobody else can take the lease either; what is under way is idempotent.
                log.info("a lease could not be renewed", tenant_id=str(tenant_id), error=type(error).__name__)

    async def _work(self, tenant_id: uuid.UUID, task: Task) -> None:
        if task.purge:
            await self._runtime.purge(str(tenant_id))
            self._checkpoint("purged")
            await asyncio.to_thread(mark_purged, self._database, tenant_id, self._now())
            return
        if task.spec.desired == "running":
            await self._publisher.ensure(tenant_id)
            self._checkpoint("policy")
        state = await self._runtime.apply(task.spec)
        self._checkpoint("applied")
        applied = asyncio.create_task(asyncio.to_thread(self._applied, tenant_id, task, state))
        try:
            if task.state is State.DEPLOYING:
                await self._start(tenant_id, task, state)
        finally:
            await applied
        if task.state in {State.DEACTIVATING, State.DELETING}:
            # Reports of the runtime normally end this; asking again covers a report that was lost.
            self._later(tenant_id, RETRY_SECONDS[2])

    async def _start(self, tenant_id: uuid.UUID, task: Task, state: TenantState) -> None:
        if state.state == "failed":
            await self._runtime.restart(str(tenant_id))
        await self._runtime.wake(str(tenant_id))
        self._checkpoint("ready")
        await asyncio.to_thread(self._conclude, tenant_id, task.spec.generation, Event.READY, "")
        self._checkpoint("concluded")

    def _applied(self, tenant_id: uuid.UUID, task: Task, state: TenantState) -> None:
        now = self._now()
        with UnitOfWork(self._database) as work:
            tenant = work.session.get(Tenant, tenant_id, with_for_update=True)
            if tenant is None:
                return
            tenant.applied_generation = max(tenant.applied_generation, task.spec.generation)
            for operation in operations.unfinished(work.session, tenant_id):
                operations.enter(operation, "sealed", now)
                operations.enter(operation, "spawning" if task.state is State.DEPLOYING else "stopping", now)
            if task.state is not State.DEPLOYING:
                observation.take_in(work, state, now)

    def _conclude(self, tenant_id: uuid.UUID, generation: int, event: Event, reason: str) -> None:
        with UnitOfWork(self._database) as work:
            tenant = work.session.get(Tenant, tenant_id, with_for_update=True)
            if tenant is not None and tenant.generation == generation:
                if event is Event.READY:
                    tenant.activity = "awake"
                observation.move(work, tenant, event, reason, self._now())

    async def _failed(self, tenant_id: uuid.UUID, failure: RuntimeFailure) -> None:
        """Decides whether a start has failed for good, or is tried again a little later."""
        attempts = self._attempts[tenant_id] = self._attempts.get(tenant_id, 0) + 1
        task = await asyncio.to_thread(self._read, tenant_id)
        if task is None:
            return
        given_up = failure.code in FINAL or (failure.code == "timeout" and attempts >= PATIENCE)
        if task.state is State.DEPLOYING and given_up:
            self._attempts.pop(tenant_id, None)
            generation = task.spec.generation
            await asyncio.to_thread(self._conclude, tenant_id, generation, Event.SPAWN_FAILED, str(failure))
            return
        log.info("the runtime refused; trying again", tenant_id=str(tenant_id), code=failure.code, error=str(failure))
        await asyncio.to_thread(self._explain, tenant_id, str(failure))
        self._later(tenant_id, RETRY_SECONDS[min(attempts, len(RETRY_SECONDS)) - 1])

    def _explain(self, tenant_id: uuid.UUID, reason: str) -> None:
        """Shows why something takes long."""
        with UnitOfWork(self._database) as work:
            tenant = work.session.get(Tenant, tenant_id, with_for_update=True)
            if tenant is None or tenant.status != "pending":
                return
            tenant.status_reason = f"Waiting: {reason}"
            for operation in operations.unfinished(work.session, tenant_id):
                operation.failures += 1
