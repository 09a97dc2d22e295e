"""Calls an ASGI application in process: no socket, no HTTP parser."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


@dataclasses.dataclass(slots=True)
class Answer:
    """What an application answered; `status` is 0 if it answered nothing."""

    status: int = 0
    headers: list[tuple[bytes, bytes]] = dataclasses.field(default_factory=list)
    body: bytes = b""


async def call(
    app: ASGIApp,
    path: str,
    *,
    method: str = "GET",
    query: str = "",
    headers: tuple[tuple[bytes, bytes], ...] = (),
    body: bytes = b"",
) -> Answer:
    """Sends one request to `app` and returns its whole answer.

    Args:
        app: The application; its lifespan must have started.
        path: Decoded path without query.
        method: HTTP method.
        query: Query string without question mark.
        headers: Additional headers, names in lower case.
        body: Request body.
    """
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(b"host", b"localhost"), (b"content-length", str(len(body)).encode()), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
        "state": {},
    }
    answer = Answer()
    waiting = iter([{"type": "http.request", "body": body, "more_body": False}])
    answered = asyncio.Event()

    async def receive() -> Message:
        for message in waiting:
            return message
        # Middleware listens for a disconnect while the answer is being made; it must not come before the answer.
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")
            if not message.get("more_body", False):
                answered.set()

    await app(scope, receive, send)
    return answer


@contextlib.asynccontextmanager
async def lifespan(app: ASGIApp) -> AsyncIterator[None]:
    """Runs the application's lifespan around the body, as a server does.

    Raises:
        RuntimeError: If start or stop fails; the message is the application's.
    """
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    outbox: asyncio.Queue[Message] = asyncio.Queue()
    scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
    task = asyncio.ensure_future(app(scope, inbox.get, outbox.put))

    async def step(name: str) -> None:
        await inbox.put({"type": f"lifespan.{name}"})
        answer = asyncio.ensure_future(outbox.get())
        await asyncio.wait((answer, task), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            await task
            raise RuntimeError(f"The application left its lifespan during {name}.")
        if answer.result()["type"] != f"lifespan.{name}.complete":
            raise RuntimeError(f"The application's {name} failed: {answer.result().get('message', '')}")

    await step("startup")
    try:
        yield
    finally:
        await step("shutdown")
        await task
