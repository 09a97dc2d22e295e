"""Parts of the process side that need no tenant: local cloud connection, in-process calls, the zygote's checks."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sqlite3
import threading
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from nagaya_tenant import asgi, hooks, server, warm

if TYPE_CHECKING:
    from pathlib import Path


class NothingToReset:
    """A reset whose process holds no ZenML; it reports the survivors that it was given."""

    def __init__(self, survivors: list[str]) -> None:
        self._survivors = survivors

    def discover(self) -> None:
        """Nothing is imported."""

    def forget(self) -> None:
        """Nothing is remembered."""

    def survivors(self) -> list[str]:
        return self._survivors


def test_cloud_connection_takes_the_status_report_and_nothing_else() -> None:
    connection = hooks.LocalCloudConnection()
    connection.patch("/workspace_status")
    for method in ("get", "post", "patch", "delete"):
        with pytest.raises(RuntimeError, match=f"{method.upper()} /rbac/check_permissions"):
            getattr(connection, method)("/rbac/check_permissions", params={"user_id": "7"})


@pytest.mark.parametrize(
    ("middleware", "sentence"),
    [
        ([], "has no CORSMiddleware, RequestBodyLimit"),
        ([("CORSMiddleware", {"origins": []})], "CORSMiddleware has no allow_origins"),
    ],
)
def test_middleware_that_zenml_no_longer_has(middleware: list[tuple[str, dict[str, Any]]], sentence: str) -> None:
    entries = [SimpleNamespace(cls=SimpleNamespace(__name__=name), kwargs=kwargs) for name, kwargs in middleware]
    config = SimpleNamespace(cors_allow_origins=None, max_request_body_size_in_bytes=1)
    with pytest.raises(hooks.HookError, match=sentence):
        hooks._configure_middleware(SimpleNamespace(user_middleware=entries), config)


def test_place_that_zenml_no_longer_has() -> None:
    with pytest.raises(hooks.HookError, match=r"has no SimpleNamespace\.server_config, which this platform sets"):
        hooks._require(SimpleNamespace(), "server_config")


def test_lifespan_failures_are_raised() -> None:
    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    async def leaving(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    async def raising(scope: Any, receive: Any, send: Any) -> None:
        raise LookupError("broken")

    async def enter(app: asgi.ASGIApp) -> None:
        async with asgi.lifespan(app):
            pytest.fail("the lifespan started")

    for app, error, sentence in (
        (failing, RuntimeError, "startup failed: no database"),
        (leaving, RuntimeError, "left its lifespan during startup"),
        (raising, LookupError, "broken"),
    ):
        with pytest.raises(error, match=sentence):
            asyncio.run(enter(app))


def test_call_collects_the_body_and_reports_the_disconnect() -> None:
    received: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        received.append((await receive())["body"].decode())
        await send({"type": "http.response.start", "status": 201, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await send({"type": "http.response.body", "body": b"two"})
        received.append((await receive())["type"])

    answer = asyncio.run(asgi.call(app, "/x", method="POST", body=b"question"))
    assert (answer.status, answer.headers, answer.body) == (201, [(b"a", b"b")], b"onetwo")
    assert received == ["question", "http.disconnect"]


def test_server_error_in_the_dry_run_is_fatal() -> None:
    warm._accept("/x", asgi.Answer(status=404))
    with pytest.raises(warm.WarmUpError, match="/x answered 500 in the dry run"):
        warm._accept("/x", asgi.Answer(status=500))


def test_fork_is_refused_while_a_thread_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm, "THREADS_GONE_SECONDS", 0)
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with pytest.raises(warm.WarmUpError, match="threads are running before the first fork"):
            warm.settle(NothingToReset([]))  # type: ignore[arg-type]
    finally:
        stop.set()
        thread.join()


def test_fork_is_refused_with_an_open_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(warm.process, "threads", lambda: 1)
    with (
        closing(sqlite3.connect(tmp_path / "left.db")),
        pytest.raises(warm.WarmUpError, match=r"Database files are open before the first fork: .*left\.db"),
    ):
        warm.settle(NothingToReset([]))  # type: ignore[arg-type]


def test_fork_is_refused_with_a_survivor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm.process, "threads", lambda: 1)
    monkeypatch.setattr(warm.process, "open_files", dict)
    with pytest.raises(warm.WarmUpError, match="alive before the first fork: Engine"):
        warm.settle(NothingToReset(["Engine"]))  # type: ignore[arg-type]


def test_application_that_never_ends_cannot_hold_up_the_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "STOP_SECONDS", 0.2)

    async def hanging(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.Event().wait()

    async def ready() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if (pid := os.fork()) == 0:
            closed: list[bool] = []
            server.TenantServer(hanging, ready, lambda: closed.append(True)).run(sockets=[listener])
            os._exit(0 if closed else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
