"""Gives each request an id, bounds its body, and logs its end once."""

import re
import time
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.requests import Request

from nagaya import tracing
from nagaya.errors import PayloadTooLarge
from nagaya.http.handlers import on_unexpected
from nagaya.metrics import api as metrics

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 1024 * 1024
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

log = structlog.get_logger("nagaya.request")


@dataclass
class Farewell:
    """Whether this process is being replaced: every answer then is the last on its connection."""

    begun: bool = False


farewell = Farewell()


class RequestContext:
    """ASGI layer: `scope["state"]["request_id"]`, the limit on bodies, one log line per request.

    Args:
        app: The application.
        max_body: Limit on a request's body in bytes.
        application: Its name in metrics.
    """

    def __init__(self, app: App, max_body: int = MAX_BODY, application: str = "api") -> None:
        self.app = app
        self.application = application
        self.max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        span = tracing.start(scope["method"], headers, request_id)
        started = time.perf_counter()
        status = 500
        started_answer = False
        received = 0

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self.max_body:
                    raise PayloadTooLarge(f"The body is larger than {self.max_body} bytes.")
            return message

        async def traced_send(message: Message) -> None:
            nonlocal status, started_answer
            if message["type"] == "http.response.start":
                started_answer = True
                status = message["status"]
                message.setdefault("headers", [])
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
                if farewell.begun:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await self.app(scope, counted_receive, traced_send)
        except Exception as error:
            # Starlette's own layer for this is outside of ours: it would answer without the request's id, and raise
            # the error once more after answering.
            response = on_unexpected(Request(scope), error)
            if started_answer:
                raise
            await response(scope, receive, traced_send)
        finally:
            tracing.end(span, status, scope.get("route"))
            metrics.request(self.application, scope["method"], status, time.perf_counter() - started)
            log.info(
                "request",
                method=scope["method"],
                path=scope["path"],
                status=status,
                milliseconds=round((time.perf_counter() - started) * 1000, 1),
            )
