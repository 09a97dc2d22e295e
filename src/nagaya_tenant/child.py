"""What a tenant process does from its first instruction to its end, whether forked or started plainly."""

from __future__ import annotations

import gc
import json
import os
import socket
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, NoReturn

from nagaya_tenant import asgi, process, profile, server, stamp, version
from nagaya_tenant.settings import TenantSettings
from nagaya_tenant.spawn import SpawnOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


EXIT_FAILED = 70  # EX_SOFTWARE of <sysexits.h>
LONGEST_REASON = 2_000


class Timings:
    """Milliseconds of each phase since the order was received; the clock is shared by all processes of a host."""

    def __init__(self, received: float) -> None:
        self._received = self._last = received
        self.phases: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        """Ends `phase` now."""
        now = time.monotonic()
        self.phases[phase] = round((now - self._last) * 1000, 1)
        self.phases["total"] = round((now - self._received) * 1000, 1)
        self._last = now


class ReadyPipe:
    """The write end of the readiness pipe; takes one line."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    def send(self, line: dict[str, Any]) -> None:
        """Writes the line and closes the pipe; later calls do nothing, nor does one after the keeper has gone."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            with os.fdopen(descriptor, "wb") as pipe:
                pipe.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        except BrokenPipeError:
            print("nagaya: the keeper no longer waits for this start", file=sys.stderr)  # noqa: T201 - the log


def main(message: str | bytes, descriptors: Sequence[int], received: float, prepare: Callable[[], None]) -> int:
    """Becomes the tenant of the order and serves until it is told to stop.

    Args:
        message: The keeper's order, JSON.
        descriptors: Listening socket, policy file, write end of the readiness pipe.
        received: Monotonic time at which the order arrived.
        prepare: Brings ZenML into the state after import, for the environment that is then in `os.environ`.

    Returns:
        Exit status of the process: 0 after an orderly stop. Every failure is told on the readiness pipe.
    """
    timings = Timings(received)
    timings.lap("fork")
    redact: Callable[[str], str] = str
    try:
        process.detach(descriptors)
        ready = ReadyPipe(process.READY)
    except (OSError, ValueError):
        traceback.print_exc()
        return EXIT_FAILED
    try:
        order = SpawnOrder.from_json(message)
        redact = order.redact
        _enter(order)
        timings.lap("isolate")
        _prepare_database(order)
        timings.lap("stamp")
        prepare()
        timings.lap("prepare")
        _serve(timings, ready)
    except BaseException as error:
        sys.stderr.write(redact(traceback.format_exc()))
        ready.send({"ready": False, "reason": redact(f"{type(error).__name__}: {error}")[:LONGEST_REASON]})
        return EXIT_FAILED
    return 0


def _enter(order: SpawnOrder) -> None:
    process.become(order.uid, order.name)
    os.chdir(order.directory)
    process.redirect_output(order.log)
    profile.use_tenant(os.environ, order.environment)
    time.tzset()


def _prepare_database(order: SpawnOrder) -> None:
    if order.stamp is not None:
        stamp.ensure_database(order.stamp, order.database)
    version.check_database(order.database, version.installed())


def _read_policy() -> dict[str, Any]:
    # The keeper's descriptor may be shared with earlier starts, so the file offset must not matter.
    size = os.fstat(process.POLICY).st_size
    document = json.loads(os.pread(process.POLICY, size, 0))
    os.close(process.POLICY)
    if not isinstance(document, dict):
        raise TypeError("The policy document must be a JSON object.")
    return document


def _serve(timings: Timings, ready: ReadyPipe) -> None:
    from nagaya_tenant import hooks  # noqa: PLC0415 - imports ZenML, which a plain start has just done
    from nagaya_tenant.application import build  # noqa: PLC0415 - imports ZenML, which a plain start has just done

    settings = TenantSettings.from_environment(os.environ)
    app: asgi.ASGIApp = build(hooks.apply(settings), settings, _read_policy())
    listener = socket.socket(fileno=process.LISTEN)
    listener.setblocking(False)
    timings.lap("application")

    async def announce() -> None:
        timings.lap("lifespan")
        # The zygote never collects, so that its children share its pages; a child that serves must.
        gc.enable()
        info = server.info()
        timings.lap("info")
        ready.send({"ready": True, "timings": timings.phases, "info": info})

    server.serve(app, listener, announce)


def exit_now(status: int) -> NoReturn:
    """Ends the process without running the interpreter's exit handlers, which a fork shares with its parent."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
