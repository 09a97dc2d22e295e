"""One supervised process: started with its sockets and its user, restarted with growing pauses, or adopted."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.local.backoff import Backoff
from nagaya.runtime.local.logs import open_log, rotate
from nagaya.runtime.local.processes import ProcessIdentity, Reaper, Watched, describe_exit
from nagaya.supervisor.sockets import REDIRECT, VARIABLE, announce

logger = logging.getLogger(__name__)

STEADY_SECONDS = 60.0
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


def fix_python_path() -> None:
    """Make a relative `PYTHONPATH` absolute: children start in another directory."""
    if entries := os.environ.get("PYTHONPATH"):
        absolute = [str(Path(entry).absolute()) for entry in entries.split(os.pathsep) if entry]
        os.environ["PYTHONPATH"] = os.pathsep.join(absolute)


def service_specs(config: PlatformConfig) -> list[ServiceSpec]:
    """Return the platform's processes in the order of their start."""
    public = ("gateway",) if config.redirect_port is None else ("gateway", REDIRECT)
    everything = (*public, "keeper", "api", "internal", "channel")
    service = config.service_uid if os.geteuid() == 0 else None
    gateway = config.gateway_uid if os.geteuid() == 0 else None
    keeper_stop = 2 * config.stop_timeout + 10.0
    return [
        ServiceSpec("keeper", "nagaya.runtime.local.keeper", everything, None, True, keeper_stop),
        ServiceSpec("api", "nagaya.server", ("api", "internal", "channel"), service, True, 15.0),
        ServiceSpec("gateway", "nagaya.gateway.main", public, gateway, False, 20.0),
    ]


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
        self._task: asyncio.Task[None] | None = None
        self._backoff = Backoff(base=0.2, limit=30.0, failures=1 << 30, window=300.0, now=time.monotonic)

    @property
    def identity(self) -> ProcessIdentity | None:
        """The living process, if any."""
        return self.process.identity if self.process else None

    def run(self, adopted: ProcessIdentity | None = None, restarts: int = 0) -> None:
        """Start (or adopt) and keep it running."""
        self.restarts = restarts
        self.process = Watched.open(adopted) if adopted is not None else None
        if self.process is not None:
            logger.info("adopted %s, pid %d", self.spec.name, self.process.pid)
        self._task = asyncio.create_task(self._keep(), name=self.spec.name)

    async def _keep(self) -> None:
        while True:
            began = time.monotonic()
            if self.process is None:
                await self._start()
            if self.process is not None:
                await self.process.exited.wait()
                code = self._reaper.status(self.process.pid)
                logger.error("%s (pid %d) %s", self.spec.name, self.process.pid, describe_exit(code))
                self.process = None
            if time.monotonic() - began > STEADY_SECONDS:
                self._backoff.reset()
            self.restarts += 1
            self._backoff.failed()
            await asyncio.sleep(self._backoff.delay)

    async def _start(self) -> None:
        variable, descriptors = announce(self._sockets, self.spec.sockets)
        try:
            log = open_log(self.log_path, self._config.log_bytes)
            try:
                self.process = self._reaper.start(
                    self._command(),
                    environment=self._environment() | variable,
                    output=log,
                    pass_fds=descriptors,
                    user=self.spec.user,
                    cwd=Path("/"),
                    die_with_parent=not self._config.detach,
                )
            finally:
                os.close(log)
        except OSError:
            logger.exception("%s cannot be started", self.spec.name)
            return
        logger.info("started %s, pid %d", self.spec.name, self.process.pid)
        self._on_change()

    def _command(self) -> list[str]:
        command = self._config.commands.get(self.spec.name) or [sys.executable, "-m", self.spec.module]
        return [*command, str(self._config.path)]

    def _environment(self) -> dict[str, str]:
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        if self.spec.settings:
            passed |= {key: value for key, value in os.environ.items() if key.startswith("NAGAYA_") and key != VARIABLE}
        home = "/nonexistent" if self.spec.user is not None else os.environ.get("HOME", "/nonexistent")
        return passed | {"HOME": home, "PYTHONUNBUFFERED": "1"}

    @property
    def log_path(self) -> Path:
        """Where its output goes."""
        return self._config.log_dir / f"{self.spec.name}.log"

    def rotate_log(self) -> None:
        """Rotate its log when it has grown too long."""
        rotate(self.log_path, self._config.log_bytes, below=self._config.log_dir)

    async def stop(self) -> None:
        """Stop it in order and for good."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self.process is not None:
            if not await self.process.stop(self.spec.stop_timeout):
                logger.warning("%s had to be killed after %g s", self.spec.name, self.spec.stop_timeout)
            self.process = None
