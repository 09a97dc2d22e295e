"""One supervised process: started with its sockets and its user, restarted, replaced in operation, or adopted."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.interface import RuntimeFailure
from nagaya.runtime.local.backoff import Backoff
from nagaya.runtime.local.logs import open_log, rotate, tail
from nagaya.runtime.local.processes import Reaper, Watched, describe_exit
from nagaya.supervisor.build import fingerprint
from nagaya.supervisor.record import ServiceRecord
from nagaya.supervisor.sockets import READY, REDIRECT, VARIABLE, announce

logger = logging.getLogger(__name__)

STEADY_SECONDS = 60.0
READY_SECONDS = 60.0
"""How long a successor may take until it serves."""
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR")


@dataclass(frozen=True)
class ServiceSpec:
    """What to start. `settings`: whether it may see the `NAGAYA_*` environment, which can hold passwords."""

    name: str
    module: str
    sockets: tuple[str, ...]
    user: int | None
    settings: bool
    stop_timeout: float
    overlaps: bool = True
    """Whether its successor may serve beside it. The keeper's may not: only one process can own the tenants."""


def fix_python_path() -> None:
    """Make a relative `PYTHONPATH` absolute: children start in another directory."""
    if entries := os.environ.get("PYTHONPATH"):
        absolute = [str(Path(entry).absolute()) for entry in entries.split(os.pathsep) if entry]
        os.environ["PYTHONPATH"] = os.pathsep.join(absolute)


def service_specs(config: PlatformConfig) -> list[ServiceSpec]:
    """Return the platform's processes in the order of their start."""
    public = ("gateway", "metrics") if config.redirect_port is None else ("gateway", "metrics", REDIRECT)
    everything = (*public, "keeper", "api", "internal", "channel")
    service = config.service_uid if os.geteuid() == 0 else None
    gateway = config.gateway_uid if os.geteuid() == 0 else None
    keeper_stop = 2 * config.stop_timeout + 10.0
    return [
        ServiceSpec("keeper", "nagaya.runtime.local.keeper", everything, None, True, keeper_stop, overlaps=False),
        ServiceSpec("api", "nagaya.serve", ("api", "internal", "channel"), service, True, 15.0),
        ServiceSpec("gateway", "nagaya.gateway.main", public, gateway, False, 20.0),
    ]


def command(config: PlatformConfig, spec: ServiceSpec) -> list[str]:
    """Return the command line of a service."""
    program = config.commands.get(spec.name) or [sys.executable, "-m", spec.module]
    return [*program, str(config.path)]


class Service:
    """Keeps one process running."""

    def __init__(
        self,
        spec: ServiceSpec,
        config: PlatformConfig,
        sockets: Mapping[str, socket.socket],
        reaper: Reaper,
        on_change: Callable[[], None],
    ) -> None:
        self.spec, self._config, self._sockets = spec, config, sockets
        self._reaper, self._on_change = reaper, on_change
        self.process: Watched | None = None
        self.restarts = 0
        self._build = ""
        self._retiring: dict[int, Watched] = {}
        self._farewells: set[asyncio.Task[None]] = set()
        self._replacing = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._backoff = Backoff(base=0.2, limit=30.0, failures=1 << 30, window=300.0, now=time.monotonic)

    def record(self) -> ServiceRecord:
        """Return what another supervisor needs to know to go on."""
        retiring = [process.identity for process in self._retiring.values()]
        return ServiceRecord(self.process.identity if self.process else None, self.restarts, self._build, retiring)

    def run(self, adopted: ServiceRecord | None = None) -> None:
        """Start (or adopt) and keep it running."""
        if adopted is not None:
            self.restarts, self._build = adopted.restarts, adopted.build
            self.process = Watched.open(adopted.identity) if adopted.identity is not None else None
            for identity in adopted.retiring:
                if (process := Watched.open(identity)) is not None:
                    self._await_farewell(process)
        if self.process is not None:
            logger.info("adopted %s, pid %d", self.spec.name, self.process.pid)
        self._task = asyncio.create_task(self._keep(), name=self.spec.name)

    async def _keep(self) -> None:
        while True:
            began = time.monotonic()
            if self.process is None:
                self._start()
            process = self.process
            if process is not None:
                await process.exited.wait()
                if self.process is not process:
                    continue  # It was replaced.
                code = self._reaper.status(process.pid)
                logger.error("%s (pid %d) %s", self.spec.name, process.pid, describe_exit(code))
                self.process = None
            if time.monotonic() - began > STEADY_SECONDS:
                self._backoff.reset()
            self.restarts += 1
            self._backoff.failed()
            await asyncio.sleep(self._backoff.delay)

    def _start(self) -> None:
        try:
            self.process = self._launch()
        except OSError:
            logger.exception("%s cannot be started", self.spec.name)
            return
        self._build = fingerprint()
        logger.info("started %s, pid %d", self.spec.name, self.process.pid)
        self._on_change()

    def _launch(self, ready: int | None = None) -> Watched:
        """Start a process; `ready` is a descriptor that it writes to once it serves. Raises OSError."""
        variable, descriptors = announce(self._sockets, self.spec.sockets)
        if ready is not None:
            variable[READY] = str(ready)
            descriptors.append(ready)
        log = open_log(self.log_path, self._config.log_bytes, self._config.log_files)
        try:
            return self._reaper.start(
                command(self._config, self.spec),
                environment=self._environment() | variable,
                output=log,
                pass_fds=descriptors,
                user=self.spec.user,
                cwd=Path("/"),
                die_with_parent=not self._config.detach,
            )
        finally:
            os.close(log)

    def _environment(self) -> dict[str, str]:
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        if self.spec.settings:
            own = {key: value for key, value in os.environ.items() if key.startswith(("NAGAYA_", "OTEL_"))}
            passed |= {key: value for key, value in own.items() if key not in {VARIABLE, READY}}
        home = "/nonexistent" if self.spec.user is not None else os.environ.get("HOME", "/nonexistent")
        return passed | {"HOME": home, "PYTHONUNBUFFERED": "1"}

    @property
    def log_path(self) -> Path:
        """Where its output goes."""
        return self._config.log_dir / f"{self.spec.name}.log"

    def rotate_log(self) -> None:
        """Rotate its log when it has grown too long."""
        rotate(self.log_path, self._config.log_bytes, self._config.log_files, below=self._config.log_dir)

    # Replacing in operation -----------------------------------------------------------------------------------

    async def replace(self) -> dict[str, int | float | None]:
        """Put a new process in the place of the one that runs, so that no request is lost.

        One that may overlap goes only when its successor serves; if that never does, it stays. Returns both process
        ids and how long it took (seconds). Raises RuntimeFailure with the reason.
        """
        async with self._replacing:
            began, old = time.monotonic(), self.process
            if old is not None and self.spec.overlaps:
                new = await self._launch_ready()
                self.process, self._build = new, fingerprint()
                self._await_farewell(old)
                self._on_change()
                old.signal(signal.SIGUSR1)
            else:
                await self._change_over(old)
            assert self.process is not None
            logger.info("replaced %s: pid %d serves", self.spec.name, self.process.pid)
            return {
                "before": old.pid if old else None,
                "pid": self.process.pid,
                "seconds": round(time.monotonic() - began, 3),
            }

    async def _change_over(self, old: Watched | None) -> None:
        """End the process, which leaves what it owns to its successor, and start that one."""
        await self._stop_keeping()
        try:
            if old is not None:
                old.signal(signal.SIGUSR1)
                with suppress(TimeoutError):
                    await asyncio.wait_for(old.exited.wait(), self.spec.stop_timeout)
                # Never SIGTERM: that would take what it owns with it.
                old.signal(signal.SIGKILL)
                await old.exited.wait()
            self.process = None
            self.process, self._build = await self._launch_ready(), fingerprint()
            self._on_change()
        finally:
            self._task = asyncio.create_task(self._keep(), name=self.spec.name)

    async def _launch_ready(self) -> Watched:
        """Start a process and wait until it serves. Raises RuntimeFailure when it does not; then it is gone."""
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        said = asyncio.Event()
        loop = asyncio.get_running_loop()
        try:
            try:
                process = self._launch(write)
            except OSError as error:
                raise RuntimeFailure("failed", f"{self.spec.name} cannot be started: {error}") from error
            finally:
                os.close(write)
            loop.add_reader(read, said.set)
            with suppress(TimeoutError):
                await asyncio.wait_for(said.wait(), READY_SECONDS)
            serves = said.is_set() and bool(os.read(read, 16))
        finally:
            loop.remove_reader(read)
            os.close(read)
        if serves:
            return process
        await process.stop(0.0)
        lines = [line for line in tail(self.log_path, 20, below=self._config.log_dir) if line.strip()]
        last = f" Its log ends with: {lines[-1]}" if lines else ""
        raise RuntimeFailure("failed", f"The new {self.spec.name} does not serve.{last}")

    def _await_farewell(self, process: Watched) -> None:
        """Remember a predecessor until it has finished what it had begun."""

        async def wait() -> None:
            await process.exited.wait()
            del self._retiring[process.pid]
            self._on_change()

        self._retiring[process.pid] = process
        task = asyncio.create_task(wait(), name=f"{self.spec.name} {process.pid}")
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)

    async def _stop_keeping(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def stop(self) -> None:
        """Stop it, and predecessors that still finish something, in order and for good."""
        await self._stop_keeping()
        going = [*self._retiring.values(), *([self.process] if self.process is not None else [])]
        in_time = await asyncio.gather(*(process.stop(self.spec.stop_timeout) for process in going))
        if not all(in_time):
            logger.warning("%s had to be killed after %g s", self.spec.name, self.spec.stop_timeout)
        self.process = None
