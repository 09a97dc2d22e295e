"""The api process: three applications in one loop on inherited sockets. `nagaya.serve` starts it."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
import uvicorn
import uvloop
from fastapi import FastAPI

from nagaya import tracing
from nagaya.app import create_app
from nagaya.app_state import create_state
from nagaya.db.errors import DatabaseUrlError, SchemaError
from nagaya.http.context import farewell
from nagaya.http.internal import create_internal_app
from nagaya.http.logs import configure
from nagaya.http.settings import ApiSettings
from nagaya.http.state import AppState
from nagaya.identity.keys import KeyFileError
from nagaya.metrics import api as metrics
from nagaya.runtime.config import ConfigError, PlatformConfig
from nagaya.supervisor.sockets import say_ready
from nagaya.tenants.assembly import create_control
from nagaya.tenants.channel import create_channel_app
from nagaya.tenants.control import Control

GRACE_SECONDS = 10
GARBAGE_THRESHOLD = 20_000
"""Objects that are made between two searches for garbage."""
TICK_SECONDS = 1.0
HAND_OVER_SECONDS = 60
"""How long an api that is replaced stays for connections that do not end."""
SOCKETS = "NAGAYA_SOCKETS"
log = structlog.get_logger("nagaya.server")


class _Server(uvicorn.Server):
    """A server that leaves signals to us, for there are three in one process, and that hardly wakes up while idle."""

    def __init__(self, config: uvicorn.Config) -> None:
        self._ending = asyncio.Event()
        self.listening = asyncio.Event()
        super().__init__(config)

    @property
    def should_exit(self) -> bool:
        """Whether it is to end; once set it stays."""
        return self._ending.is_set()

    @should_exit.setter
    def should_exit(self, value: bool) -> None:
        if value:
            self._ending.set()

    async def main_loop(self) -> None:
        """Makes a new `Date` header once a second; uvicorn looks ten times a second whether it is to end."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self._ending.wait()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to accept connections."""
        await super().startup(sockets=sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Does nothing."""
        yield


def inherited_sockets() -> dict[str, socket.socket]:
    """Returns the listening sockets that the supervisor passed, by name.

    Raises:
        ConfigError: They were not passed.
    """
    try:
        numbers = json.loads(os.environ[SOCKETS])
        return {name: socket.socket(fileno=int(numbers[name])) for name in ("api", "internal", "channel")}
    except (KeyError, ValueError, TypeError, OSError) as error:
        raise ConfigError(f"{SOCKETS} does not name open sockets; `nagaya up` starts this process.") from error


def _server(app: FastAPI) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            # The socket can be reached by the gateway only; `address_of` reads what it reports.
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=75,
        )
    )


async def serve(state: AppState, control: Control, sockets: dict[str, socket.socket]) -> None:
    """Serves until SIGTERM or SIGINT; requests that have begun are finished.

    Args:
        state: The state of the applications.
        control: The background work of tenants.
        sockets: Listening sockets by name.
    """
    apps = {"api": create_app(state), "internal": create_internal_app(state), "channel": create_channel_app(control)}
    # What is there now stays for ever: looking through it for garbage would only hold up requests.
    gc.freeze()
    # A page of a list makes more objects than Python's threshold allows; with that one it is searched thirty times.
    gc.set_threshold(GARBAGE_THRESHOLD)
    gc.enable()
    servers = {name: _server(app) for name, app in apps.items()}

    def stop() -> None:
        log.info("stopping")
        control.hub.close()
        for server in servers.values():
            server.should_exit = True

    replaced = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGUSR1, replaced.set)
    async with control.running(), asyncio.TaskGroup() as tasks:
        serving = [
            tasks.create_task(server.serve(sockets=[sockets[name]]), name=name) for name, server in servers.items()
        ]
        await asyncio.gather(*(server.listening.wait() for server in servers.values()))
        log.info("serving", public_url=state.settings.public_url)
        say_ready()
        leaving = asyncio.create_task(_hand_over(replaced, control, list(servers.values()), stop))
        await asyncio.wait(serving)
        leaving.cancel()
    await asyncio.to_thread(state.database.close)
    await asyncio.to_thread(tracing.shut_down)


async def _hand_over(
    replaced: asyncio.Event, control: Control, servers: list[_Server], stop: Callable[[], None]
) -> None:
    """Leaves new connections to a successor when there is one, and stops when those that exist have ended.

    Each ends with its next answer, which says so: closing one that a neighbour has kept could destroy a request on its
    way. Neighbours drop connections that they do not use for some seconds.
    """
    await replaced.wait()
    log.info("replaced")
    farewell.begun = True
    control.hub.close()
    for server in servers:
        for listener in server.servers:
            listener.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(HAND_OVER_SECONDS):
            while any(server.server_state.connections for server in servers):  # noqa: ASYNC110 - uvicorn has no event.
                await asyncio.sleep(0.1)
    stop()


def main(arguments: list[str] | None = None) -> int:
    """Runs the api process.

    Args:
        arguments: The path of `run/config.json`.

    Returns:
        0 after an orderly end, 1 if it cannot start; the reason is the last line of the log.
    """
    configure()
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1:
        log.error("usage: python -m nagaya.serve <run/config.json>")
        return 2
    try:
        config = PlatformConfig.load(Path(given[0]))
        configure(str(config.api.get("log_level", "info")).upper(), str(config.api.get("log_format", "json")))
        sockets = inherited_sockets()
        tracing.configure()
        state = create_state(ApiSettings.from_platform(config))
    except (tracing.TracingError, ConfigError, KeyFileError, DatabaseUrlError, SchemaError, ValueError) as error:
        log.error("cannot start", reason=str(error))  # noqa: TRY400 - the sentence says it all.
        return 1
    control = create_control(config, state)
    metrics.watch_database(state.database)
    metrics.watch_channel(control.hub)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(state, control, sockets))
    return 0
