"""The keeper's half of the mutual watch: under `--detach` it restarts a supervisor that died, with all sockets."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.local.backoff import Backoff
from nagaya.runtime.local.logs import open_log
from nagaya.runtime.local.processes import Reaper, Watched
from nagaya.supervisor.record import SupervisorRecord
from nagaya.supervisor.sockets import VARIABLE, announce

logger = logging.getLogger(__name__)

SETTLE_SECONDS = 10.0


class Guardian:
    """Watches the supervisor. `orphaned` is called when it died while it was stopping everything."""

    def __init__(
        self,
        config: PlatformConfig,
        sockets: Mapping[str, socket.socket],
        reaper: Reaper,
        orphaned: Callable[[], None],
    ) -> None:
        self._config, self._sockets, self._reaper, self._orphaned = config, sockets, reaper, orphaned
        self._backoff = Backoff(base=0.1, limit=15.0, failures=1 << 30, window=120.0, now=time.monotonic)

    async def run(self) -> None:
        """Watch for ever; returns at once without `--detach` (children then end with their supervisor)."""
        if not self._config.detach:
            return
        while True:
            record = SupervisorRecord.read(self._config.run_dir)
            process = Watched.open(record.identity) if record is not None else None
            if process is not None:
                await process.exited.wait()
                record = SupervisorRecord.read(self._config.run_dir) or record
            if record is not None and record.state == "stopping":
                self._finish_stopping(record)
                return
            self._backoff.failed()
            await asyncio.sleep(self._backoff.delay)
            await self._restart()

    async def _restart(self) -> None:
        """Start a supervisor and wait until it has taken over; of two at once the lock lets one win."""
        variable, descriptors = announce(self._sockets, self._sockets)
        environment = {key: value for key, value in os.environ.items() if key != VARIABLE} | variable
        log = open_log(self._config.log_dir / "supervisor.log", self._config.log_bytes, self._config.log_files)
        try:
            process = self._reaper.start(
                [sys.executable, "-m", "nagaya.supervisor.main", str(self._config.path)],
                environment=environment,
                output=log,
                pass_fds=descriptors,
                cwd=Path("/"),
            )
        finally:
            os.close(log)
        logger.warning("the supervisor was gone; started another, pid %d", process.pid)
        deadline = time.monotonic() + SETTLE_SECONDS
        while not process.exited.is_set() and time.monotonic() < deadline:
            record = SupervisorRecord.read(self._config.run_dir)
            if record is not None and record.identity == process.identity:
                break
            await asyncio.sleep(0.05)
        process.close()

    def _finish_stopping(self, record: SupervisorRecord) -> None:
        """Do what the supervisor could not finish."""
        for name in ("gateway", "api"):
            service = record.services.get(name)
            process = Watched.open(service.identity) if service and service.identity else None
            if process is not None:
                process.signal(signal.SIGTERM)
                process.close()
        self._orphaned()
