"""Compiles policies that changed: open streams get them at once, the runtime keeps them for tenants that sleep."""

import asyncio
import datetime as dt
import uuid
from collections.abc import Callable, Iterable

import structlog
from sqlalchemy import select

from nagaya.access.compiler import Document, Issuer, compile_policies
from nagaya.db.engine import Database
from nagaya.db.outage import Outage
from nagaya.runtime.interface import Runtime, RuntimeFailure
from nagaya.tenants.hub import Hub
from nagaya.tenants.models import Tenant

log = structlog.get_logger("nagaya.tenants.publisher")

CONCURRENT_PUSHES = 16
BATCH = 200
"""Tenants compiled in one go: bounds the memory that their documents take."""


class PolicyPublisher:
    """Brings the policy of tenants to where it is enforced. Used on the event loop only.

    Args:
        database: The control database.
        runtime: Keeps a copy of each policy for the next start of the tenant.
        hub: Open streams of running tenants.
        issuer: Who signs tokens.
        now: The clock.
        outage: What is known of the database's absence.
    """

    def __init__(
        self,
        database: Database,
        runtime: Runtime,
        hub: Hub,
        issuer: Issuer,
        now: Callable[[], dt.datetime],
        *,
        outage: Outage,
    ) -> None:
        self._database = database
        self._runtime = runtime
        self._hub = hub
        self._issuer = issuer
        self._now = now
        self._outage = outage
        self._dirty: set[uuid.UUID] = set()
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(CONCURRENT_PUSHES)
        self._asked: dict[uuid.UUID, asyncio.Future[Document | None]] = {}
        self._answering: asyncio.Task[None] | None = None
        self.stored: dict[uuid.UUID, int] = {}
        """The version that the runtime is known to have, by tenant."""

    def touch(self, tenant_ids: Iterable[uuid.UUID]) -> None:
        """Has the policies of tenants compiled and delivered."""
        self._dirty.update(tenant_ids)
        self._wake.set()

    async def run(self) -> None:
        """Delivers for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._dirty:
                # Running tenants first: for them every millisecond counts.
                batch = (self._hub.listening(self._dirty) or list(self._dirty))[:BATCH]
                self._dirty.difference_update(batch)
                try:
                    documents = await self.compile(batch)
                except Exception as error:
                    self._outage.failed("policies could not be compiled", error)
                    self._dirty.update(batch)
                    await asyncio.sleep(1)
                    continue
                self._hub.publish(documents)
                stored = await asyncio.gather(*(self._push(key, document) for key, document in documents.items()))
                if missing := stored.count(False):
                    # Nothing is lost: when the runtime is heard again, whatever is older than the database is pushed.
                    log.info("the runtime did not store policies", tenants=missing)

    async def compile(self, tenant_ids: list[uuid.UUID]) -> dict[uuid.UUID, Document]:
        """Returns the policy documents of hosted tenants as of now."""

        def read() -> dict[uuid.UUID, Document]:
            with self._database.read() as session:
                # Enrolled servers ask for each decision; nobody keeps a document for them.
                hosted = session.scalars(select(Tenant.id).where(Tenant.id.in_(tenant_ids), Tenant.enrolled.is_(False)))
                return compile_policies(session, list(hosted), self._issuer, self._now())

        return await asyncio.to_thread(read)

    async def document(self, tenant_id: uuid.UUID) -> Document | None:
        """Returns the policy document of a tenant as of now or later; None for one that is unknown.

        Those of all tenants that ask while others are compiled are compiled together: when this process starts, every
        running tenant asks at once, and one by one their documents would keep it from anything else for seconds.
        """
        future = self._asked.get(tenant_id)
        if future is None:
            future = self._asked[tenant_id] = asyncio.get_running_loop().create_future()
        if self._answering is None:
            self._answering = asyncio.create_task(self._answer(), name="documents of tenants that ask")
        return await asyncio.shield(future)

    async def _answer(self) -> None:
        try:
            while self._asked:
                batch = {key: self._asked.pop(key) for key in list(self._asked)[:BATCH]}
                try:
                    documents = await self.compile(list(batch))
                except Exception as error:
                    for future in batch.values():
                        future.set_exception(error)
                        future.exception()  # Whoever asked may have gone.
                except asyncio.CancelledError:
                    for future in batch.values():
                        future.cancel()
                    raise
                else:
                    for key, future in batch.items():
                        future.set_result(documents.get(key))
        finally:
            self._answering = None

    async def ensure(self, tenant_id: uuid.UUID) -> None:
        """Gives the runtime the newest policy of a tenant before it starts the tenant.

        Raises:
            RuntimeFailure: The runtime did not take it.
        """
        documents = await self.compile([tenant_id])
        for document in documents.values():
            if self.stored.get(tenant_id, -1) < document["version"]:
                await self._runtime.policy(str(tenant_id), document)
                self._remember(tenant_id, document["version"])

    async def _push(self, tenant_id: uuid.UUID, document: Document) -> bool:
        if self.stored.get(tenant_id, -1) >= document["version"]:
            return True
        async with self._slots:
            try:
                await self._runtime.policy(str(tenant_id), document)
            except RuntimeFailure:
                return False
        self._remember(tenant_id, document["version"])
        return True

    def _remember(self, tenant_id: uuid.UUID, version: int) -> None:
        self.stored[tenant_id] = max(version, self.stored.get(tenant_id, -1))
