"""Starts the gateway process: `python -m nagaya.gateway.main <run/config.json>`, listening sockets inherited."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path

import uvloop

from nagaya.gateway.access_log import Log
from nagaya.gateway.gateway import Gateway
from nagaya.gateway.settings import GatewaySettings
from nagaya.supervisor.sockets import say_ready
from nagaya.tls import CertificateError

READY_SECONDS = 5.0
"""How long a new gateway waits for the keeper's list of tenants before it says that it serves."""
METRICS = "metrics"
"""Name of the socket for scrapes."""
REDIRECT = "redirect"
"""Name of the socket that only shows the way to TLS."""


def inherited_sockets() -> dict[str, socket.socket]:
    """The listening sockets that `NAGAYA_SOCKETS` (JSON, names and descriptors) announces; raises `ValueError`."""
    try:
        descriptors = json.loads(os.environ["NAGAYA_SOCKETS"])
        sockets = {name: socket.socket(fileno=int(descriptor)) for name, descriptor in descriptors.items()}
    except (KeyError, ValueError, AttributeError, TypeError, OSError) as error:
        raise ValueError(f"NAGAYA_SOCKETS must name at least one inherited listening socket ({error!r}).") from error
    if not set(sockets) - {METRICS, REDIRECT}:
        raise ValueError("NAGAYA_SOCKETS must name at least one inherited listening socket.")
    return sockets


async def _first(*events: asyncio.Event) -> None:
    """Wait for the first of the events."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _announce(gateway: Gateway) -> None:
    await gateway.link.ready(READY_SECONDS)
    say_ready()


async def serve(settings: GatewaySettings, sockets: dict[str, socket.socket], log: Log) -> None:
    """Run until SIGTERM or SIGINT; SIGUSR1 says that a successor serves, and this one may take its time."""
    stopped, replaced = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    loop.add_signal_handler(signal.SIGUSR1, replaced.set)
    gateway = Gateway(settings, log)
    redirecting = [listening for name, listening in sockets.items() if name == REDIRECT]
    serving = [listening for name, listening in sockets.items() if name not in {METRICS, REDIRECT}]
    await gateway.start(serving, redirecting)
    if METRICS in sockets:
        await gateway.serve_metrics(sockets[METRICS])
    loop.add_signal_handler(signal.SIGHUP, lambda: gateway.refresh_certificate(force=True))
    # What exists now stays: leaving it out of collections keeps pauses short.
    gc.collect()
    gc.freeze()
    log.write("started", pid=os.getpid(), public_url=settings.public_url)
    log.flush()
    announcing = asyncio.create_task(_announce(gateway))
    await _first(stopped, replaced)
    announcing.cancel()
    if not stopped.is_set():
        log.write("replaced", connections=len(gateway.connections))
        leaving = asyncio.create_task(gateway.hand_over())
        ended = asyncio.create_task(stopped.wait())
        await asyncio.wait([leaving, ended], return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        ended.cancel()
    log.write("stopping", connections=len(gateway.connections))
    await gateway.stop()


def main(arguments: list[str]) -> int:
    """Read the configuration and serve; returns the exit code."""
    if len(arguments) != 1:
        print("usage: python -m nagaya.gateway.main <run/config.json>", file=sys.stderr)  # noqa: T201 - the only output there is
        return 2
    try:
        settings = GatewaySettings.from_file(Path(arguments[0]))
        sockets = inherited_sockets()
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"The gateway cannot start: {error}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return 1
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, sockets, Log(requests=settings.access_log, form=settings.log_format)))
    except CertificateError as error:
        print(f"The gateway cannot start: {error}", file=sys.stderr)  # noqa: T201 - who reads the log must see it
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
