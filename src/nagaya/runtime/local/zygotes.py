"""The zygotes: one pre-loaded parent process per engine in use, kept alive, adopted again after a keeper's restart."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from nagaya.engines import catalog
from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.files import StateFileError, read_json, write_json
from nagaya.runtime.local.adoption import stray_zygotes
from nagaya.runtime.local.backoff import Backoff
from nagaya.runtime.local.engines import Engines
from nagaya.runtime.local.logs import open_log, tail
from nagaya.runtime.local.processes import ProcessIdentity, Reaper, Watched, describe_exit, kill_and_wait
from nagaya.runtime.local.zygote_link import ZygoteLink, ZygoteLostError

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 10.0
TAKE_OVER_TIMEOUT = 3.0
EXITS_KEPT = 256
STATUS_SECONDS = 0.3
EXIT_UNSUPPORTED = 78
"""The zygote's word for "this engine cannot be forked": trying again would not help."""


class ZygoteStartError(Exception):
    """A zygote did not become ready; the message says why."""


class Zygote:
    """Keeps one engine's zygote running. State: `starting`, `ready`, `failed` (tenants then start plainly)."""

    def __init__(self, pool: ZygotePool, engine: catalog.Engine) -> None:
        self.pool, self.engine = pool, engine
        self.state, self.reason = "starting", ""
        self.link: ZygoteLink | None = None
        self.process: Watched | None = None
        self.socket: Path | None = None
        self._settled = asyncio.Event()
        self.unsupported = False
        self._backoff = Backoff(base=0.5, limit=600.0, failures=1 << 30, window=3600.0, now=time.monotonic)
        self._task: asyncio.Task[None] | None = None

    def run(self) -> None:
        """Start keeping it alive."""
        self._task = asyncio.create_task(self._keep(), name=f"zygote-{self.engine.version}")

    async def _keep(self) -> None:
        while True:
            if self.link is None:
                await self._start_once()
            if self.unsupported:
                return
            if self.link is not None and self.process is not None:
                await self._watch(self.link, self.process)
                if await self._take_over():
                    continue
                # A child that was forked but has not named itself yet would look like a zygote; nobody waits for it.
                kill_and_wait(stray_zygotes(self.pool.config.run_dir, known=self.pool.pids()))
                self._unlink()
            self._backoff.failed()
            await asyncio.sleep(self._backoff.delay)

    async def _start_once(self) -> None:
        try:
            await self._start()
        except (ZygoteStartError, ZygoteLostError, OSError) as error:
            if self.process is not None:
                await self.process.stop(0.0)
            self.link, self.process = None, None
            problem = None if self.unsupported else await self.pool.engines.diagnose(self.engine.version)
            self.state, self.reason = "failed", problem or str(error)
            logger.exception("engine %s: the zygote did not start", self.engine.version)
        self._settled.set()

    async def _start(self) -> None:
        """Start the process and wait for its line. Raises ZygoteStartError with the last line of its log."""
        self.socket = self.pool.next_socket(self.engine.version)
        read, write = os.pipe2(os.O_CLOEXEC)
        log = open_log(self.pool.log_path(self.engine.version), self.pool.config.log_bytes, self.pool.config.log_files)
        command = [str(self.engine.python), "-m", "nagaya_tenant.zygote"]
        began = time.monotonic()
        try:
            self.process = self.pool.reaper.start(
                [*command, str(self.socket), "--template", str(self.engine.template)],
                environment=self.pool.environment(),
                output=log,
                stdout=write,
                cwd=Path("/"),
            )
        finally:
            os.close(write)
            os.close(log)
        self.pool.save()
        line = await self._first_line(read)
        try:
            json.loads(line)
        except ValueError as error:
            await self.process.stop(0.0)
            self.unsupported = self.pool.reaper.status(self.process.pid) == EXIT_UNSUPPORTED
            raise ZygoteStartError(self._why(self.process.pid)) from error
        self.link = await ZygoteLink.open(self.socket, self.pool.child_exited, limit=CONNECT_TIMEOUT)
        self.state, self.reason = "ready", ""
        self.pool.engines.proved(self.engine.version)
        self.pool.save()
        logger.info("engine %s: zygote ready in %.1f s", self.engine.version, time.monotonic() - began)

    async def _first_line(self, descriptor: int) -> bytes:
        """Return the first line that appears on the pipe; what came until then at its end or after the time limit."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb")
        )
        try:
            async with asyncio.timeout(self.pool.config.zygote_timeout):
                return await reader.readline()
        except TimeoutError:
            return b""
        finally:
            transport.close()

    def _why(self, pid: int) -> str:
        path = self.pool.log_path(self.engine.version)
        last = [line for line in tail(path, 20, below=path.parent) if line.strip()]
        ending = describe_exit(self.pool.reaper.status(pid))
        return f"the zygote {ending}: {last[-1] if last else 'its log is empty'}"

    async def _watch(self, link: ZygoteLink, process: Watched) -> None:
        """Wait until the zygote is unusable, then make sure that it is gone."""
        gone = [asyncio.create_task(link.closed.wait()), asyncio.create_task(process.exited.wait())]
        try:
            await asyncio.wait(gone, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in gone:
                task.cancel()
        self._settled.clear()
        self.state = "starting"
        link.close()
        await process.stop(1.0)
        logger.warning("engine %s: the zygote (pid %d) is gone", self.engine.version, process.pid)
        self.link, self.process = None, None

    async def _take_over(self) -> bool:
        """Go on with the dead zygote's standby, which listens on the same socket; False when there is none."""
        assert self.socket is not None
        try:
            link = await ZygoteLink.open(self.socket, self.pool.child_exited, limit=TAKE_OVER_TIMEOUT)
        except ZygoteLostError:
            return False
        try:
            answer = await link.request({"cmd": "ping"}, limit=TAKE_OVER_TIMEOUT)
            identity = ProcessIdentity.of(int(answer["pid"]))
        except (ZygoteLostError, KeyError, ValueError, TypeError):
            identity = None
        process = Watched.open(identity) if identity is not None else None
        if process is None:
            link.close()
            return False
        self.link, self.process, self.state = link, process, "ready"
        self.pool.save()
        self._settled.set()
        logger.info("engine %s: the standby (pid %d) has taken over", self.engine.version, process.pid)
        return True

    def _unlink(self) -> None:
        if self.socket is not None:
            self.socket.unlink(missing_ok=True)

    async def adopt(self, identity: ProcessIdentity, socket: Path) -> bool:
        """Take over a zygote that an earlier keeper started; False when it is not usable."""
        process = Watched.open(identity)
        if process is None:
            self.socket = socket
            return await self._take_over()
        try:
            self.link = await ZygoteLink.open(socket, self.pool.child_exited, limit=CONNECT_TIMEOUT)
        except ZygoteLostError:
            await process.stop(0.0)
            return False
        self.process, self.socket, self.state = process, socket, "ready"
        self._settled.set()
        return True

    async def ready(self) -> ZygoteLink | None:
        """Wait until the zygote is ready and return its link; None when tenants must start plainly."""
        await self._settled.wait()
        return self.link

    async def stop(self) -> None:
        """End the zygote; its children go on."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self.link is not None:
            self.link.close()
        if self.process is not None and not await self.process.stop(5.0):
            # One that had to be killed could not end its standby.
            self.process = None
            kill_and_wait(stray_zygotes(self.pool.config.run_dir, known=self.pool.pids()))
        self._unlink()
        self._settled.set()
        self.link, self.process = None, None


class ZygotePool:
    """All zygotes of this host."""

    def __init__(self, config: PlatformConfig, reaper: Reaper) -> None:
        self.config, self.reaper = config, reaper
        self.engines = Engines(config.engines_dir)
        self._path = config.keeper_dir / "zygotes.json"
        self._zygotes: dict[str, Zygote] = {}
        self._exits: dict[int, int] = {}
        self._generation = 0

    def log_path(self, version: str) -> Path:
        """Where the zygote of an engine logs."""
        return self.config.log_dir / f"zygote-{version}.log"

    def next_socket(self, version: str) -> Path:
        """Return a socket path that was never used before."""
        self._generation += 1
        return self.config.run_dir / f"zygote-{version}-{self._generation}.sock"

    @staticmethod
    def environment() -> dict[str, str]:
        """Return a zygote's environment: values for all tenants only, nothing of the platform's own."""
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": "/nonexistent",
            "MALLOC_ARENA_MAX": "2",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "ZENML_ANALYTICS_OPT_IN": "false",
        }

    def save(self) -> None:
        """Record the zygotes, so that a new keeper can adopt them."""
        zygotes = {
            version: {
                **zygote.process.identity.to_json(),
                "socket": str(zygote.socket),
                "fingerprint": zygote.engine.fingerprint,
                "state": zygote.state,
            }
            for version, zygote in self._zygotes.items()
            if zygote.process is not None
        }
        write_json(self._path, {"generation": self._generation, "zygotes": zygotes})

    async def adopt(self) -> frozenset[int]:
        """Take over the zygotes of the last keeper and return their pids; those that never became ready are not."""
        try:
            stored = read_json(self._path) or {}
        except StateFileError:
            stored = {}
        self._generation = int(stored.get("generation", 0))
        for version, entry in dict(stored.get("zygotes", {})).items():
            identity, engine = ProcessIdentity.from_json(entry), catalog.find(self.config.engines_dir, version)
            usable = engine is not None and engine.fingerprint == entry["fingerprint"] and entry["state"] == "ready"
            if identity is None or engine is None or not usable:
                continue
            zygote = Zygote(self, engine)
            if await zygote.adopt(identity, Path(entry["socket"])):
                self._zygotes[version] = zygote
                zygote.run()
        return self.pids()

    def pids(self) -> frozenset[int]:
        """Return the process ids of all zygotes."""
        return frozenset(zygote.process.pid for zygote in self._zygotes.values() if zygote.process is not None)

    async def ensure(self, version: str) -> Zygote | None:
        """Return the zygote of an engine, starting it if need be; None when the engine is not installed.

        An engine that was installed anew gets a new zygote; tenants of the old one go on.
        """
        engine = catalog.find(self.config.engines_dir, version)
        zygote = self._zygotes.get(version)
        if zygote is not None and (engine is None or zygote.engine.fingerprint == engine.fingerprint):
            return zygote
        if engine is None:
            return None
        if zygote is not None:
            del self._zygotes[version]
            await zygote.stop()
        created = self._zygotes.setdefault(version, Zygote(self, engine))
        if created is not zygote and created._task is None:  # noqa: SLF001 - the pool owns its zygotes.
            created.run()
        return created

    def unusable(self, version: str) -> str | None:
        """Return why no tenant of an engine can be started now, as a sentence; None when one can."""
        zygote = self._zygotes.get(version)
        if zygote is not None and zygote.state != "failed":
            return None
        return self.engines.problems.get(version) or (self.engines.missing(version) if zygote is None else None)

    def homeless(self) -> list[str]:
        """Return the versions of zygotes whose engine is gone, even one that came and went between two looks."""
        return [version for version in self._zygotes if not (self.config.engines_dir / version).is_dir()]

    async def renewed(self, version: str) -> None:
        """Let go of a zygote whose engine was removed, renewed or repaired; the next start gets a new one."""
        zygote = self._zygotes.get(version)
        if zygote is None:
            return
        engine = catalog.find(self.config.engines_dir, version)
        if engine is not None and zygote.state != "failed" and zygote.engine.fingerprint == engine.fingerprint:
            return
        if engine is None and (self.config.engines_dir / version).is_dir():
            # Its record is damaged; what already runs of it serves on.
            return
        del self._zygotes[version]
        await zygote.stop()

    def owns(self, socket: Path) -> bool:
        """Tell whether a zygote of this pool listens on `socket`."""
        return any(zygote.socket == socket for zygote in self._zygotes.values())

    def child_exited(self, pid: int, status: int) -> None:
        """Remember how a zygote's child ended."""
        self._exits[pid] = status
        while len(self._exits) > EXITS_KEPT:
            del self._exits[next(iter(self._exits))]

    async def exit_code(self, pid: int) -> int | None:
        """Return how a tenant's process ended (negative: signal), or None when nobody saw it.

        Its end can be known a moment before its status, which the zygote has to pass on.
        """
        deadline = time.monotonic() + STATUS_SECONDS
        while time.monotonic() < deadline:
            status = self._exits.get(pid)
            status = self.reaper.status(pid) if status is None else status
            if status is not None:
                return status
            await asyncio.sleep(0.01)
        return None

    def describe(self) -> list[dict[str, Any]]:
        """Return the engines as `hello` shows them."""
        return [self._describe(version) for version in catalog.present(self.config.engines_dir)]

    def _describe(self, version: str) -> dict[str, Any]:
        zygote, problem = self._zygotes.get(version), self.engines.problems.get(version)
        state = "idle" if zygote is None else zygote.state
        # The zygote of a damaged engine is tried again and again; in between it is no more usable than after a failure.
        hopeless = state == "failed" or (problem is not None and state == "starting")
        return {
            "version": version,
            "state": "damaged" if problem else state,
            "mode": "plain" if hopeless else "zygote",
            "zygote_pid": zygote.process.pid if zygote is not None and zygote.process is not None else None,
            "reason": problem or ("" if zygote is None else zygote.reason),
        }

    async def stop(self) -> None:
        """End all zygotes."""
        await asyncio.gather(*(zygote.stop() for zygote in self._zygotes.values()))
        self._zygotes.clear()
        self.save()
