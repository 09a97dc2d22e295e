"""Compiles policies that changed: open streams get them at once, the runtime keeps them for tenants that sleep."""

import asyncio
import datetime as dt
import uuid
from collections.abc import Callable, Iterable

import structlog

from nagaya.access.compiler import Document, Issuer, compile_policies
from nagaya.db.engine import Database
from nagaya.db.outage import Outage
from nagaya.runtime.interface import Runtime, RuntimeFailure
from nagaya.tenants.hub import Hub

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
        """Returns the policy documents of tenants as of now."""

        def read() -> dict[uuid.UUID, Document]:
            with self._database.read() as session:
                return compile_policies(session, tenant_ids, self._issuer, self._now())

        return await asyncio.to_thread(read)

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
