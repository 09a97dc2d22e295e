"""The platform's side for tests: signing key and policy documents, and a control plane that can misbehave."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import h11
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

if TYPE_CHECKING:
    from pathlib import Path

ISSUER = "http://127.0.0.1:8440"


class Cloud:
    """Signs tokens and writes policy documents for one tenant."""

    def __init__(self) -> None:
        self.tenant = str(uuid4())
        self.organization = str(uuid4())
        self.key = Ed25519PrivateKey.generate()
        self.kid = "key-1"
        self.version = 0
        self.principals: dict[str, dict[str, Any]] = {}
        self.revoked: dict[str, float] = {}
        self.roles: dict[str, Any] = {}

    def member(self, name: str, *grants: dict[str, Any], **fields: Any) -> str:
        """Adds a principal; returns its id."""
        principal = fields.pop("id", None) or str(uuid4())
        self.principals[principal] = {
            "kind": "user",
            "username": name,
            "email": f"{name}@example.com",
            "name": name.title(),
            "superuser": False,
            "valid_after": 0,
            "grants": list(grants),
            "shares": {},
            **fields,
        }
        return principal

    def jwks(self) -> dict[str, Any]:
        public = OKPAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": self.kid, "alg": "EdDSA", "use": "sig"}]}

    def document(self) -> dict[str, Any]:
        """The next version of the policy."""
        self.version += 1
        return json.loads(
            json.dumps(
                {
                    "schema": 1,
                    "tenant": self.tenant,
                    "organization": self.organization,
                    "version": self.version,
                    "issuer": ISSUER,
                    "issued_at": int(time.time()),
                    "jwks": self.jwks(),
                    "principals": self.principals,
                    "roles": self.roles,
                    "revoked_sessions": self.revoked,
                }
            )
        )

    def token(self, principal: str, kind: str = "session", **claims: Any) -> str:
        """A token of the platform; claims given as `None` are left out."""
        now = int(time.time())
        payload = {
            "iss": ISSUER,
            "aud": self.tenant if kind == "tenant" else "nagaya",
            "typ": kind,
            "sub": principal,
            "sid": f"session-of-{principal}",
            "iat": now,
            "exp": now + 300,
            **claims,
        }
        payload = {name: value for name, value in payload.items() if value is not None}
        return jwt.encode(payload, self.key, algorithm="EdDSA", headers={"kid": self.kid})


def grant(role: str, project: str | None = None, via: str = "direct") -> dict[str, Any]:
    return {"role": role, "via": via, "project": project, "expires": None}


class FakeApi:
    """A control plane on a unix socket. `behaviour` is `answers`, `silent`, `slow`, `lying` or `refuses`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.behaviour = "answers"
        self.document: dict[str, Any] | None = None
        self.events: list[dict[str, Any]] = []
        self.shares: list[dict[str, Any]] = []
        self.share_answer: tuple[int, Any] = (200, {})
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.streams: set[asyncio.Queue[dict[str, Any]]] = set()
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[Any], asyncio.StreamWriter] = {}

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        """Dies: no new connections, and the present ones break."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task, writer in list(self._connections.items()):
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    def push(self, message: dict[str, Any]) -> None:
        """Sends a message down every open stream."""
        for stream in self.streams:
            stream.put_nowait(message)

    async def until(self, condition: Any, seconds: float = 10.0) -> None:
        """Waits until something that a request changes is true."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  # conditions look at many things
                await asyncio.sleep(0.02)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            await self._talk(reader, writer)
        except (ConnectionError, h11.ProtocolError, asyncio.CancelledError):
            pass
        finally:
            del self._connections[task]
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)

        async def event() -> Any:
            while (got := connection.next_event()) is h11.NEED_DATA:
                connection.receive_data(await reader.read(65_536))
            return got

        while isinstance(request := await event(), h11.Request):
            body = bytearray()
            while isinstance(part := await event(), h11.Data):
                body += part.data
            target = request.target.decode()
            self.requests.append((target, {k.decode(): v.decode() for k, v in request.headers}))
            if self.behaviour == "silent":
                await reader.read()
                return
            if self.behaviour == "slow":
                await asyncio.sleep(1)
            if target.startswith("/channel/v1/stream") and self.behaviour not in {"lying", "refuses"}:
                await self._stream(connection, writer)
                return
            status, value = self._answer(target, json.loads(body) if body else None)
            data = b"" if value is None else json.dumps(value).encode()
            head = h11.Response(status_code=status, headers=[("content-length", str(len(data)))])
            writer.write(connection.send(head) + connection.send(h11.Data(data=data)))
            writer.write(connection.send(h11.EndOfMessage()))
            await writer.drain()
            connection.start_next_cycle()

    def _answer(self, target: str, value: Any) -> tuple[int, Any]:  # noqa: PLR0911  # one for each request
        if self.behaviour == "refuses":
            return 500, {"error": "Broken", "detail": "out of order"}
        if target.startswith("/channel/v1/policy"):
            after = int(target.rpartition("=")[2])
            if self.behaviour == "lying":
                return 200, {"schema": 1, "tenant": "somebody else's", "version": 999}
            if self.document is None or self.document["version"] <= after:
                return 204, None
            return 200, self.document
        if target == "/channel/v1/events":
            if self.behaviour == "lying":
                return 200, {"acknowledged": 10**9}
            known = {each["seq"] for each in self.events}
            self.events.extend(each for each in value["events"] if each["seq"] not in known)
            return 200, {"acknowledged": value["events"][-1]["seq"]}
        if target == "/channel/v1/shares":
            self.shares.append(value)
            return self.share_answer
        return 200, "not what was asked for"

    async def _stream(self, connection: h11.Connection, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.streams.add(queue)
        try:
            head = h11.Response(status_code=200, headers=[("transfer-encoding", "chunked")])
            writer.write(connection.send(head))
            queue.put_nowait({"type": "ping", "time": time.time()})
            while True:
                line = json.dumps(await queue.get()).encode() + b"\n"
                writer.write(connection.send(h11.Data(data=line)))
                await writer.drain()
        finally:
            self.streams.discard(queue)
