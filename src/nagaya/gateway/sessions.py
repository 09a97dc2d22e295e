"""Turns a browser's session cookie into a short-lived token of one tenant, with a bounded cache."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict

from nagaya.gateway import internal
from nagaya.gateway.answers import GatewayError
from nagaya.gateway.upstream import UpstreamError

_MARGIN = 20.0
"""Seconds before its expiry from which on a token is no longer handed out."""
_CALL_SECONDS = 10.0

Key = tuple[bytes, str]


class Sessions:
    """Exchanges cookies at the api (`POST /internal/v1/tenant_token`). Only successes are remembered."""

    def __init__(self, path: str, size: int = 10_000) -> None:
        self._path = path
        self._size = size
        self._tokens: OrderedDict[Key, tuple[str, float]] = OrderedDict()
        self._running: dict[Key, asyncio.Task[str | None]] = {}

    async def token(self, cookie: str, tenant_id: str) -> str | None:
        """A token for this session and tenant, or None if the session is not valid.

        Raises `GatewayError`: 503 when the api does not answer, or what the api refused with (403, 404).
        """
        key = (hashlib.sha256(cookie.encode()).digest(), tenant_id)
        known = self._tokens.get(key)
        if known is not None and known[1] > asyncio.get_running_loop().time():
            return known[0]
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._exchange(key, cookie))
            task.add_done_callback(lambda done: self._finished(key, done))
        return await asyncio.shield(task)

    def forget(self, cookie: str, tenant_id: str) -> None:
        """The tenant refused the token."""
        self._tokens.pop((hashlib.sha256(cookie.encode()).digest(), tenant_id), None)

    def _finished(self, key: Key, task: asyncio.Task[str | None]) -> None:
        self._running.pop(key, None)
        if not task.cancelled():
            task.exception()  # Whoever waited was told; nobody may be left to wait.

    async def _exchange(self, key: Key, cookie: str) -> str | None:
        try:
            token, lifetime = await self._ask(cookie, key[1])
        except (UpstreamError, ValueError, KeyError, TypeError, AttributeError) as error:
            sentence = "Sessions cannot be checked at the moment; try again in a few seconds."
            raise GatewayError(503, "ServiceUnavailable", sentence, retry_after=2) from error
        if token is None:
            return None
        if not token.isascii() or not token.isprintable() or " " in token:
            raise GatewayError(502, "BadGateway", "The session service answered with something that is not a token.")
        if lifetime > _MARGIN:
            self._tokens[key] = (token, asyncio.get_running_loop().time() + lifetime - _MARGIN)
            self._tokens.move_to_end(key)
            while len(self._tokens) > self._size:
                self._tokens.popitem(last=False)
        return token

    async def _ask(self, cookie: str, tenant_id: str) -> tuple[str | None, float]:
        """Ask the api for a token and its life in seconds; None if the session is not valid."""
        body = json.dumps({"cookie": cookie, "tenant": tenant_id}).encode()
        target = b"/internal/v1/tenant_token"
        status, content = await internal.call(self._path, b"POST", target, body, seconds=_CALL_SECONDS)
        if status == 401:
            return None, 0.0
        answer = json.loads(content)
        if status in {403, 404}:
            detail = answer.get("detail")
            sentence = detail if isinstance(detail, str) else "You may not use this tenant."
            raise GatewayError(status, _code(status), sentence)
        if status != 200:
            raise UpstreamError(f"It answered {status}.")
        return str(answer["token"]), float(answer["expires_in"])


def _code(status: int) -> str:
    return "IllegalOperationError" if status == 403 else "KeyError"
