"""Everything about tenants that runs beside requests in one api process: reconciler, policies, runtime's reports."""

import asyncio
import contextlib
import datetime as dt
import json
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import structlog
from sqlalchemy import delete, func, select

from nagaya.access.changes import TOPIC
from nagaya.db.base import utc_now
from nagaya.db.engine import Database
from nagaya.db.errors import is_outage
from nagaya.db.outage import Outage
from nagaya.db.signals import Signal, Wakeups
from nagaya.http.transactions import UnitOfWork
from nagaya.runtime.interface import RuntimeFailure, TenantState
from nagaya.tenants import bus, observation
from nagaya.tenants.hub import Hub
from nagaya.tenants.liveness import Liveness
from nagaya.tenants.models import Tenant
from nagaya.tenants.platform import TenantPlatform
from nagaya.tenants.publisher import PolicyPublisher
from nagaya.tenants.readdressing import readdress
from nagaya.tenants.reconciler import Reconciler

log = structlog.get_logger("nagaya.tenants.control")

SIGNAL_LIFE = dt.timedelta(hours=1)
SWEEP_SECONDS = 5.0
RECONNECT_SECONDS = 1.0
RETRY_SECONDS = 1.0
REPORT_BATCH = 200


class Control:
    """The background work of tenants in one api process.

    Args:
        database: The control database.
        platform: Runtime, addresses, keys.
        now: The clock.
        checkpoint: See `Reconciler`.
    """

    def __init__(
        self,
        database: Database,
        platform: TenantPlatform,
        now: Callable[[], dt.datetime] = utc_now,
        checkpoint: Callable[[str], None] = lambda _step: None,
    ) -> None:
        self.database = database
        self.platform = platform
        self.now = now
        self.hub = Hub()
        self._outage = Outage()
        self.publisher = PolicyPublisher(
            database, platform.runtime, self.hub, platform.issuer, now, outage=self._outage
        )
        self.reconciler = Reconciler(database, platform, self.publisher, now, checkpoint)
        self.liveness = Liveness(database, platform, now)
        self._reports: asyncio.Queue[TenantState] = asyncio.Queue()
        self._told: dict[uuid.UUID, TenantState] | None = None
        """What the runtime tells at the beginning of a subscription; None once it has told everything."""
        self._seen = 0
        self._wakeups = Wakeups(database)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Control"]:
        """Works for the length of the block; ends open streams and background work after it."""
        loop = asyncio.get_running_loop()

        def deliver(tenant_ids: tuple[uuid.UUID, ...]) -> None:
            # The loop may just have ended; whoever starts next finds the work in the database.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._changed, tenant_ids)

        self._seen = await asyncio.to_thread(self._last_signal)
        unsubscribe = bus.subscribe(self.database.engine, deliver)
        jobs: list[Callable[[], Coroutine[Any, Any, None]]] = [self.publisher.run, self.liveness.run, self._sweep]
        jobs += [self._poll_signals, self._follow_runtime, self._take_in_reports]
        tasks = [asyncio.create_task(job(), name=f"tenants {job.__qualname__}") for job in jobs]
        try:
            yield self
        finally:
            unsubscribe()
            self.hub.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._wakeups.close()
            await self.reconciler.stop()

    def _changed(self, tenant_ids: tuple[uuid.UUID, ...]) -> None:
        if len(tenant_ids) == 1:
            self.reconciler.wake(tenant_ids)
        # Many tenants change at once only in their policy; the sweep would find anything else.
        self.publisher.touch(tenant_ids)

    async def _sweep(self) -> None:
        while True:
            try:
                await self.reconciler.sweep()
                await asyncio.to_thread(self._forget_signals)
                self._outage.over()
            except Exception as error:
                self._outage.failed("the sweep failed", error)
            await asyncio.sleep(SWEEP_SECONDS)

    async def _poll_signals(self) -> None:
        """Learns what other api processes have changed."""
        while True:
            await self._wakeups.wait()
            try:
                changed = await asyncio.to_thread(self._new_signals)
                self.publisher.touch(changed)
                if changed:
                    await self.reconciler.sweep()
                self._outage.over()
            except Exception as error:
                self._outage.failed("signals could not be read", error)

    def _last_signal(self) -> int:
        with self.database.read() as session:
            return session.scalar(select(func.max(Signal.sequence))) or 0

    def _new_signals(self) -> set[uuid.UUID]:
        with self.database.read() as session:
            rows = session.execute(
                select(Signal.sequence, Signal.payload)
                .where(Signal.sequence > self._seen, Signal.topic == TOPIC)
                .order_by(Signal.sequence)
            ).all()
        for sequence, _payload in rows:
            self._seen = max(self._seen, sequence)
        return {uuid.UUID(each) for _sequence, payload in rows for each in json.loads(payload)}

    def _forget_signals(self) -> None:
        cut = self.now() - SIGNAL_LIFE
        with self.database.read() as session:
            if session.scalar(select(Signal.sequence).where(Signal.created < cut).limit(1)) is None:
                return
        with UnitOfWork(self.database) as work:
            work.session.execute(delete(Signal).where(Signal.created < cut))

    async def _follow_runtime(self) -> None:
        """Listens to the runtime; after each connection everything that it has not got yet is sent to it."""
        while True:
            try:
                self.platform.engines.learn(await self.platform.runtime.hello())
                self.publisher.stored.clear()
                self._told = {}
                async for event in self.platform.runtime.events():
                    if event.get("event") == "route":
                        self._heard(TenantState.from_json(event))
                    elif event.get("event") == "engines":
                        self.platform.engines.learn(event)
                    elif event.get("event") == "synced":
                        await self._catch_up()
            except RuntimeFailure as failure:
                log.info("the runtime does not answer", code=failure.code, error=str(failure))
            except OSError as error:
                log.info("the runtime does not answer", error=str(error))
            except Exception as error:
                self._outage.failed("following the runtime failed", error)
            await asyncio.sleep(RECONNECT_SECONDS)

    def _heard(self, state: TenantState) -> None:
        with contextlib.suppress(ValueError):
            key = uuid.UUID(state.id)
            if self._told is not None:
                self._told[key] = state
            if state.policy_version is not None:
                self.publisher.stored[key] = max(state.policy_version, self.publisher.stored.get(key, -1))
        self._reports.put_nowait(state)

    async def _catch_up(self) -> None:
        def read() -> list[tuple[uuid.UUID, int]]:
            with self.database.read() as session:
                rows = session.execute(
                    select(Tenant.id, Tenant.policy_version).where(
                        Tenant.purged.is_(None), Tenant.applied_generation > 0
                    )
                )
                return [(row[0], row[1]) for row in rows]

        told, self._told = self._told or {}, None
        await asyncio.to_thread(readdress, self.database, self.platform.addresses, told)
        known = self.publisher.stored
        self.publisher.touch(key for key, version in await asyncio.to_thread(read) if known.get(key, -1) < version)
        await self.reconciler.sweep()

    async def _take_in_reports(self) -> None:
        """Writes reports in the order in which they came, several in one transaction when they come fast."""
        while True:
            batch = [await self._reports.get()]
            while len(batch) < REPORT_BATCH and not self._reports.empty():
                batch.append(self._reports.get_nowait())
            newest: dict[str, TenantState] = {}
            for state in batch:
                if state.id not in newest or newest[state.id].generation <= state.generation:
                    newest[state.id] = state
            await self._write_until_done(list(newest.values()))

    async def _write_until_done(self, states: list[TenantState]) -> None:
        """Writes reports, which nobody repeats: they wait for as long as the database is away."""
        while True:
            try:
                await asyncio.to_thread(self._write_reports, states)
            except Exception as error:
                self._outage.failed("reports of the runtime could not be written", error)
                if not is_outage(error):
                    return
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    def _write_reports(self, states: list[TenantState]) -> None:
        now = self.now()
        with self.database.read() as session:
            relevant = observation.relevant(session, states)
        if not relevant:
            return
        with UnitOfWork(self.database) as work:
            for state in relevant:
                observation.take_in(work, state, now)
