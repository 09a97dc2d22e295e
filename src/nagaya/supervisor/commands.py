"""What the command line asks of a running supervisor, on a socket that only its own user can reach."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nagaya
from nagaya.runtime.interface import RuntimeFailure
from nagaya.runtime.local.server import Connection, RpcServer
from nagaya.supervisor.sockets import bind_unix

if TYPE_CHECKING:
    from nagaya.supervisor.main import Supervisor

logger = logging.getLogger(__name__)

CHECK_SECONDS = 30.0


def socket_path(run_dir: Path) -> Path:
    """Return the path of the supervisor's socket."""
    return run_dir / "supervisor.sock"


class Commands:
    """Serves `hello`, `restart {service}` and `continue` in the keeper's protocol (`docs/reference/internals.md`)."""

    def __init__(self, supervisor: Supervisor, end: Callable[[], None]) -> None:
        self._supervisor, self._end = supervisor, end
        self._server = RpcServer(self._answer, self._closed, {0, os.geteuid()})
        self._run = secrets.token_hex(8)
        self.continues = False
        """Whether the supervisor ends only to go on in the code that is installed now."""

    async def serve(self) -> None:
        """Begin to listen."""
        await self._server.serve(bind_unix(socket_path(self._supervisor.config.run_dir), 0o600))

    async def close(self) -> None:
        """Stop listening."""
        await self._server.close()
        socket_path(self._supervisor.config.run_dir).unlink(missing_ok=True)

    async def _closed(self, _connection: Connection) -> None:
        """Nothing is kept for a connection."""

    async def _answer(self, _connection: Connection, method: str, params: dict[str, Any]) -> Any:
        if method == "hello":
            record = self._supervisor.record
            return {"version": nagaya.__version__, "pid": os.getpid(), "build": record.build, "run": self._run}
        if method == "restart":
            service = self._supervisor.services.get(str(params.get("service")))
            if service is None:
                raise RuntimeFailure("unknown", f"There is no service {params.get('service')!r}.")
            return await service.replace()
        if method == "continue":
            await self._check()
            self.continues = True
            # After the answer has left: this program ends in the next moment.
            asyncio.get_running_loop().call_later(0.05, self._end)
            return {"pid": os.getpid(), "run": self._run}
        raise RuntimeFailure("unknown_method", f"The supervisor has no method {method!r}.")

    async def _check(self) -> None:
        """Try the installed code on the configuration first: once this program is gone there is no way back."""
        command = [sys.executable, "-m", "nagaya.supervisor.main", "--check", str(self._supervisor.config.path)]
        output = os.memfd_create("check")
        reaper = self._supervisor.reaper
        try:
            process = reaper.start(command, environment=os.environ, output=output)
            with suppress(TimeoutError):
                await asyncio.wait_for(process.exited.wait(), CHECK_SECONDS)
            if not process.exited.is_set():
                await process.stop(0.0)
            if reaper.status(process.pid) == 0:
                return
            said = os.pread(output, 65536, 0).decode(errors="replace").strip().splitlines()
        finally:
            os.close(output)
        reason = said[-1] if said else f"it does not start within {CHECK_SECONDS:g} s."
        raise RuntimeFailure("failed", f"The installed code cannot take over: {reason}")
