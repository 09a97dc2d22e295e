"""uvicorn for one tenant: sleeps until something happens, exits with status 0, and says when it is ready."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.server import ServerState

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator

    from nagaya_tenant.asgi import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# An open event stream would otherwise hold up a stop for ever; the keeper kills after 15 s.
GRACEFUL_SECONDS = 10
STOP_SECONDS = 13
# Longer than the gateway keeps an idle connection, so that it is never the tenant that closes one just being used.
KEEP_ALIVE_SECONDS = 120


class DatedState(ServerState):
    """Server state whose `Date` header is made when it is asked for, at most once a second.

    uvicorn refreshes it ten times a second, the only reason for which an idle server would wake up.
    """

    def __init__(self) -> None:
        self._second = 0
        self._dated: list[tuple[bytes, bytes]] = []
        super().__init__()

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of every answer."""
        now = int(time.time())
        if now != self._second:
            self._dated = [(b"date", formatdate(now, usegmt=True).encode())]
            self._second = now
        return self._dated

    @default_headers.setter
    def default_headers(self, value: list[tuple[bytes, bytes]]) -> None:
        # uvicorn assigns its own list at start; ours replaces it.
        del value


class LifespanWatch:
    """Passes everything to the application and remembers why its start failed, which uvicorn only logs."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.failure = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def observe(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                lines = str(message.get("message", "")).strip().splitlines()
                self.failure = lines[-1] if lines else "no reason given"
            await send(message)

        try:
            await self._app(scope, receive, observe)
        except Exception as error:
            self.failure = self.failure or f"{type(error).__name__}: {error}"
            raise


class TenantServer(uvicorn.Server):
    """Server of one tenant process.

    Args:
        app: The guarded application.
        on_ready: Awaited once the server accepts requests.
        on_stopped: Called after the lifespan ended.
    """

    def __init__(self, app: ASGIApp, on_ready: Callable[[], Awaitable[None]], on_stopped: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http="httptools",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,
                # Only the gateway can connect, and it overwrites the forwarding headers.
                proxy_headers=True,
                forwarded_allow_ips="*",
                timeout_graceful_shutdown=GRACEFUL_SECONDS,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )
        self.server_state = DatedState()
        self._on_ready = on_ready
        self._on_stopped = on_stopped
        self._stop = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts the lifespan and the listener, then announces readiness."""
        await super().startup(sockets)
        await self._on_ready()

    async def main_loop(self) -> None:
        """Waits for the stop signal; uvicorn would look for it every 100 ms."""
        await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Finishes requests and the lifespan, then lets the caller close the database."""
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await super().shutdown(sockets)
        except TimeoutError:
            # A stop that hangs must still fold the database's log; the keeper would kill soon after.
            log.exception("The application did not end within %s s and is left behind.", STOP_SECONDS)
        self._on_stopped()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Turns stop signals into an orderly stop; uvicorn would raise them again and end with a failure status."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._request_stop)
        try:
            yield
        finally:
            # Until the process has exited a further signal must not interrupt the closing of the database.
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)
                signal.signal(number, signal.SIG_IGN)

    def _request_stop(self) -> None:
        self.should_exit = True
        self._stop.set()


def serve(app: ASGIApp, listener: socket.socket, on_ready: Callable[[], Awaitable[None]]) -> None:
    """Serves until a stop signal; returns after the database was closed.

    Raises:
        RuntimeError: With the reason, if the application does not start.
    """
    watch = LifespanWatch(app)
    server = TenantServer(watch, on_ready, close_store)
    try:
        server.run(sockets=[listener])
    except SystemExit as exit_:
        raise RuntimeError(f"ZenML did not start: {watch.failure or 'its log has the reason'}") from exit_


def info() -> Any:
    """Returns the JSON value that `GET /api/v1/info` answers: its handler gives the same object of the store."""
    from zenml.zen_server import utils  # noqa: PLC0415 - only in an engine

    return utils.zen_store().get_store_info().model_dump(mode="json")


def close_store() -> None:
    """Closes the last connection to the database: SQLite then folds the write-ahead log in and removes it."""
    from zenml.zen_server import utils  # noqa: PLC0415 - only in an engine

    try:
        store: Any = utils.zen_store()
    except RuntimeError:
        return  # The start failed before there was a store.
    store.engine.dispose()
