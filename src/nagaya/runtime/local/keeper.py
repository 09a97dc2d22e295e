"""The keeper process: owns zygotes and tenant processes, survives its own death by adopting them again."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from nagaya.engines import catalog
from nagaya.runtime import log_lines
from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.interface import RuntimeFailure
from nagaya.runtime.local import logs, measure
from nagaya.runtime.local.adoption import stray_tenants, stray_zygotes
from nagaya.runtime.local.engine_tender import EngineTender
from nagaya.runtime.local.host import Host
from nagaya.runtime.local.limiter import WakeLimiter
from nagaya.runtime.local.methods import Methods
from nagaya.runtime.local.orphans import end_orphans
from nagaya.runtime.local.processes import Reaper, Watched, become_subreaper, kill_and_wait
from nagaya.runtime.local.server import Connection, RpcServer, allowed_uids
from nagaya.runtime.local.sleep import Gateway, Sleeper
from nagaya.runtime.local.spawn import Spawner
from nagaya.runtime.local.store import Store
from nagaya.runtime.local.tenants import Tenant
from nagaya.runtime.local.uids import UidAllocator
from nagaya.runtime.local.zygotes import ZygotePool
from nagaya.supervisor.guardian import Guardian
from nagaya.supervisor.sockets import inherited_sockets, say_ready

logger = logging.getLogger(__name__)

ROTATE_SECONDS = 60.0
LEAVE_SECONDS = 15.0
"""How long a keeper that is replaced waits for tenants that are just starting or stopping."""


class Keeper:
    """All tenants of this host."""

    def __init__(self, config: PlatformConfig) -> None:
        self.config = config
        config.keeper_dir.mkdir(mode=0o700, exist_ok=True)
        self.store = Store(config.keeper_dir)
        self.reaper = Reaper()
        self.pool = ZygotePool(config, self.reaper)
        self.host = Host(
            config=config,
            pool=self.pool,
            spawner=Spawner(config, self.pool, self.reaper),
            uids=UidAllocator(config.keeper_dir / "uids.json", config.tenant_uids),
            limiter=WakeLimiter(config.wake_limit, config.wake_queue),
            publish=self._publish,
        )
        self.tenants: dict[str, Tenant] = {}
        self.server = RpcServer(Methods(self), self._connection_closed, allowed_uids(config.service_uid))
        self.sleeper = Sleeper(lambda: list(self.tenants.values()), self._gateways, config.quiesce_timeout)
        self._tasks: list[asyncio.Task[None]] = []
        measure.observe(self)
        self.leaving = False
        """Whether a successor is about to take over."""

    # Who is known ---------------------------------------------------------------------------------------------

    def tenant(self, tenant: str) -> Tenant:
        """Return a tenant that has a spec. Raises RuntimeFailure `unknown`."""
        found = self.tenants.get(tenant)
        if found is None or (found.spec is None and found.state != "failed"):
            raise RuntimeFailure("unknown", "There is no such tenant.")
        return found

    def tenant_or_new(self, tenant: str) -> Tenant:
        """Return a tenant, making its record if it is new. Raises ValueError for a bad id."""
        if tenant not in self.tenants:
            self.tenants[tenant] = Tenant(self.store.record(tenant), self.host)
        return self.tenants[tenant]

    def known_tenants(self) -> Iterable[Tenant]:
        """Yield the tenants that subscribers hear of."""
        return [tenant for tenant in self.tenants.values() if tenant.spec is not None]

    async def purge(self, tenant: str) -> None:
        """Remove a tenant for ever; one that is unknown is already removed."""
        known = self.tenant_or_new(tenant)
        await known.purge()
        self.tenants.pop(tenant, None)

    def _publish(self, event: dict[str, object]) -> None:
        self.server.broadcast(event)
        self.sleeper.changed()

    def _gateways(self) -> list[Gateway]:
        return [item for item in self.server.connections if item.role == "gateway" and item.subscribed]

    async def _connection_closed(self, connection: Connection) -> None:
        if connection.role != "gateway":
            return
        await self.sleeper.gateway_left(connection)
        if not any(item.role == "gateway" for item in self.server.connections):
            for tenant in self.tenants.values():
                tenant.in_flight = 0

    # Beginning and end ----------------------------------------------------------------------------------------

    async def start(self, listener: socket.socket) -> None:
        """Adopt what an earlier keeper left, then serve."""
        become_subreaper()
        self.reaper.install()
        run_tenants = self.config.run_dir / "t"
        run_tenants.mkdir(mode=0o710, exist_ok=True)
        zygotes = await self.pool.adopt()
        kill_and_wait(stray_zygotes(self.config.run_dir, known=zygotes))
        processes = self._load()
        await self._start_engines()
        known = frozenset(process.pid for process in processes.values())
        kill_and_wait(stray_tenants(self.config.run_dir, known=known, zygotes=zygotes))
        self._end_orphans({self.host.uids.assigned(tenant) for tenant in processes})
        for tenant in self.tenants.values():
            await tenant.adopt(processes.get(tenant.id))
        await self._finish_purges()
        self._remove_stale_sockets(run_tenants)
        await self.server.serve(listener)
        keepers = (
            self.sleeper.run(),
            self._rotate(),
            EngineTender(self.pool, self.tenants, self.server.broadcast).run(),
        )
        self._tasks = [asyncio.create_task(each) for each in keepers]
        logger.info("serving %d tenants, %d adopted awake", len(self.tenants), len(processes))

    def _load(self) -> dict[str, Watched]:
        processes = {}
        for record in self.store.records():
            tenant = Tenant(record, self.host)
            self.tenants[record.id] = tenant
            process = tenant.load()
            if process is not None:
                processes[record.id] = process
        return processes

    def _end_orphans(self, living: set[int | None]) -> None:
        """End what tenants left behind while there was no keeper; without root they have no users of their own."""
        if os.geteuid() == 0 and self.config.tenant_uids is not None:
            ended = end_orphans(self.config.run_dir, self.host.uids.was_given, living)
            if ended:
                logger.warning("ended %d processes that tenants had left behind", ended)

    async def _finish_purges(self) -> None:
        for tenant in [item for item in self.tenants.values() if item.record.purging]:
            await self.purge(tenant.id)

    def _remove_stale_sockets(self, directory: Path) -> None:
        current = {self.host.socket_path(item.id, item.door.generation).name for item in self.tenants.values()}
        for entry in directory.iterdir():
            if entry.name not in current:
                entry.unlink(missing_ok=True)
        for entry in self.config.run_dir.glob("zygote-*.sock"):
            if not self.pool.owns(entry):
                entry.unlink(missing_ok=True)

    async def _start_engines(self) -> None:
        """Start the zygotes that are not there, before anything else: tenants cannot wake for as long as they load."""
        for version in self._engines_wanted():
            await self.pool.ensure(version)
        await asyncio.sleep(0)  # Each is started by a task of its own.

    def _engines_wanted(self) -> set[str]:
        """Return the engines of living tenants; without any, the one that the first tenant will probably get."""
        used = {item.spec.engine for item in self.tenants.values() if item.spec and item.desired == "running"}
        newest = [engine.version for engine in catalog.installed(self.config.engines_dir)][-1:]
        return used or ({self.config.default_engine} if self.config.default_engine else set(newest))

    async def _rotate(self) -> None:
        while True:
            await asyncio.sleep(ROTATE_SECONDS)
            for path in self.config.log_dir.glob("zygote-*.log"):
                logs.rotate(path, self.config.log_bytes, self.config.log_files, below=path.parent)
            for tenant in self.tenants.values():
                if tenant.process is not None:
                    tenant.rotate_log()

    async def leave(self) -> None:
        """Make way for a successor: starts that are under way are finished, tenants and zygotes go on."""
        self.leaving = True
        self.server.stop_accepting()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await asyncio.gather(*(tenant.settled() for tenant in self.tenants.values()))
                await self.server.drain()
        await self.server.close()
        logger.info("leaving %d tenants to the next keeper", len(self.tenants))

    async def stop(self) -> None:
        """Stop every tenant in order, then the zygotes."""
        await self.server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(tenant.stop() for tenant in self.tenants.values()), return_exceptions=True)
        for tenant in self.tenants.values():
            tenant.release()
        await self.pool.stop()


def _raise_file_limit() -> None:
    """Use as many descriptors as the system allows: every sleeping tenant holds a socket."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def run(config: PlatformConfig) -> None:
    """Run the keeper until SIGTERM, which ends its tenants, or SIGUSR1, which leaves them to its successor."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    leaving = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)

    def leave() -> None:
        leaving.set()
        ended.set()

    loop.add_signal_handler(signal.SIGUSR1, leave)
    sockets = inherited_sockets()
    keeper = Keeper(config)
    await keeper.start(sockets["keeper"])
    guardian = Guardian(config, sockets, keeper.reaper, orphaned=ended.set)
    watching = asyncio.create_task(guardian.run())
    say_ready()
    await ended.wait()
    watching.cancel()
    await (keeper.leave() if leaving.is_set() else keeper.stop())


def main() -> None:
    """Entry point: `python -m nagaya.runtime.local.keeper <config.json>`."""
    config = PlatformConfig.load(Path(sys.argv[1]))
    log_lines.configure(config.log_level, config.log_format)
    os.umask(0o077)
    _raise_file_limit()
    asyncio.run(run(config))


if __name__ == "__main__":
    main()
