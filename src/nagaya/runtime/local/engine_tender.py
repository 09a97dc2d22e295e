"""Keeps tenants in step with their engines: fails those that cannot start, and starts them again after a repair."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from nagaya.engines import errors
from nagaya.runtime.local.tenants import Tenant
from nagaya.runtime.local.zygotes import ZygotePool

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0


class EngineTender:
    """Looks at the engines' directory again and again, for as long as the keeper runs.

    Args:
        pool: The zygotes, which know the engines.
        tenants: All tenants, by id.
        broadcast: Tells subscribers that the engines have changed.
    """

    def __init__(
        self, pool: ZygotePool, tenants: Mapping[str, Tenant], broadcast: Callable[[dict[str, Any]], None]
    ) -> None:
        self._pool, self._tenants, self._broadcast = pool, tenants, broadcast
        self._told: list[tuple[str, bool]] | None = None
        self._doubted: frozenset[str] = frozenset()
        self._healing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Look for ever; a look that fails is only logged."""
        while True:
            try:
                await self.look()
            except Exception:  # Whatever lies in that directory must not end the care for the other engines.
                logger.exception("the engines could not be looked at")
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Take in what has changed, and drive every tenant that it concerns; repeated it does nothing more."""
        for version in await self._pool.engines.look():
            logger.info("engine %s: %s", version, self._pool.engines.problems.get(version, "has changed"))
            await self._pool.renewed(version)
        for version in self._pool.homeless():
            await self._pool.renewed(version)
        wanted = {
            tenant.spec.engine for tenant in self._tenants.values() if tenant.spec and tenant.desired == "running"
        }
        unusable = {version: reason for version in wanted if (reason := self._pool.unusable(version)) is not None}
        for version in wanted - unusable.keys():
            await self._pool.ensure(version)
        self._fail({version: reason for version, reason in unusable.items() if version in self._doubted})
        # While an engine is exchanged for a newer one there is a moment without any: twice makes it true.
        self._doubted = frozenset(unusable)
        if self._healing is None or self._healing.done():
            self._healing = asyncio.create_task(self._heal(unusable))
        engines = self._pool.describe()
        told = [(engine["version"], engine["state"] == "damaged") for engine in engines]
        if told != self._told:
            self._told = told
            self._broadcast({"event": "engines", "engines": engines})

    def _fail(self, unusable: Mapping[str, str]) -> None:
        for tenant in self._tenants.values():
            if tenant.spec is not None and tenant.desired == "running" and tenant.state == "asleep":
                reason = unusable.get(tenant.spec.engine)
                if reason is not None:
                    tenant.fail(reason)

    async def _heal(self, unusable: Mapping[str, str]) -> None:
        """Start, one after the other, the tenants that had failed because of an engine that can be used again."""
        for tenant in list(self._tenants.values()):
            if tenant.spec is None or tenant.state != "failed" or tenant.spec.engine in unusable:
                continue
            if errors.is_about(tenant.reason or "", tenant.spec.engine):
                logger.info("tenant %s: its engine %s can be used again", tenant.id, tenant.spec.engine)
                tenant.reset()
                await tenant.wake_quietly()
