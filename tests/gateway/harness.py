"""A gateway on real sockets with upstreams and a keeper that behave as a test tells them."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h11

from nagaya.gateway.access_log import Log
from nagaya.gateway.gateway import Gateway
from nagaya.gateway.settings import GatewaySettings

TENANT = "11111111-1111-4111-8111-111111111111"
KEY = "ZENPROKEY_" + "a" * 46


def token(expires_in: float = 3600) -> str:
    """A JSON web token as ZenML's look, with a signature that nobody checks here."""

    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'HS256'})}.{part({'sub': 'x', 'exp': time.time() + expires_in})}.{'A' * 43}"


AUTH = ("Authorization", "Bearer " + token())


@dataclass
class Seen:
    """A request as an upstream's parser (h11, not ours) understood it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""

    def get(self, name: str) -> str | None:
        """The only value of a header, None if absent."""
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None

    def names(self) -> set[str]:
        """All header names, lower case."""
        return {name for name, _ in self.headers}


Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Behaviour = Callable[[Seen, asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes = b"{}", status: int = 200, *headers: tuple[str, str]) -> bytes:
    """A plain answer with Content-Length."""
    lines = [f"HTTP/1.1 {status} Whatever", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def obedient(seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Answers at once what was asked."""
    writer.write(answer(json.dumps({"method": seen.method, "target": seen.target, "length": len(seen.body)}).encode()))


@dataclass
class Upstream:
    """A server on a unix socket; `behave` writes the raw answer, `seen` is what arrived by h11's reading."""

    path: str
    behave: Behaviour = obedient
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    errors: list[str] = field(default_factory=list)
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen."""
        self.server = await asyncio.start_unix_server(self._serve, self.path)

    async def stop(self) -> None:
        """Stop listening and drop all connections."""
        assert self.server is not None
        self.server.close()
        for writer in list(self.writers):
            writer.transport.abort()
        with suppress(FileNotFoundError):
            Path(self.path).unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.add(writer)
        try:
            await self._requests(reader, writer)
        except h11.RemoteProtocolError as error:
            self.errors.append(str(error))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parser = h11.Connection(h11.SERVER)
        seen: Seen | None = None
        body: list[bytes] = []
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                data = await reader.read(65536)
                if not data and parser.their_state in {h11.IDLE, h11.SEND_BODY}:
                    if parser.their_state is h11.SEND_BODY:
                        self.errors.append("incomplete body")
                    return
                parser.receive_data(data)
            elif isinstance(event, h11.Request):
                headers = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
                seen, body = Seen(event.method.decode(), event.target.decode(), headers), []
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                assert seen is not None
                seen.body = b"".join(body)
                self.seen.append(seen)
                await self.behave(seen, writer)
                await writer.drain()
                if writer.transport.is_closing():
                    return
                # Only the reading half of h11 is used: a fresh parser takes what is left over.
                rest, _ = parser.trailing_data
                parser = h11.Connection(h11.SERVER)
                parser.receive_data(rest) if rest else None
            else:
                return


@dataclass
class Keeper:
    """A keeper that tells the routes it was given and wakes as it was told to."""

    path: str
    routes: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    on_wake: Callable[[str], Awaitable[dict[str, Any]]] | None = None
    on_quiesced: Callable[[bool], None] | None = None
    server: asyncio.Server | None = None
    subscribers: list[asyncio.StreamWriter] = field(default_factory=list)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen."""
        self.server = await asyncio.start_unix_server(self._serve, self.path)

    async def stop(self) -> None:
        """Die."""
        assert self.server is not None
        self.server.close()
        for writer in self.subscribers:
            writer.transport.abort()
        self.subscribers.clear()
        with suppress(FileNotFoundError):
            Path(self.path).unlink()

    def route(self, tenant_id: str = TENANT, **values: Any) -> None:
        """Change a route and tell it."""
        known = self.routes.setdefault(tenant_id, {"id": tenant_id, "organization": "acme", "tenant": "one"})
        known |= values
        self.tell({"event": "route"} | known)

    def tell(self, event: dict[str, Any]) -> None:
        """Push an event."""
        for writer in self.subscribers:
            writer.write(json.dumps(event).encode() + b"\n")

    def called(self, method: str) -> list[dict[str, Any]]:
        """The parameters of all calls of a method."""
        return [params for name, params in self.calls if name == method]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while line := await reader.readline():
                task = asyncio.create_task(self._answer(json.loads(line), writer))
                self.tasks.add(task)
                task.add_done_callback(self.tasks.discard)
        writer.close()

    async def _answer(self, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        method, params = message["method"], message["params"]
        self.calls.append((method, params))
        result: dict[str, Any] = {"result": {}}
        if method == "quiesced" and self.on_quiesced is not None:
            self.on_quiesced(params["ok"])
        if method == "wake":
            result = await self._wake(params["id"])
        writer.write(json.dumps({"id": message["id"]} | result).encode() + b"\n")
        if method == "subscribe":
            self.subscribers.append(writer)
            for route in self.routes.values():
                writer.write(json.dumps({"event": "route"} | route).encode() + b"\n")
            writer.write(b'{"event": "synced"}\n')

    async def _wake(self, tenant_id: str) -> dict[str, Any]:
        if self.on_wake is not None:
            return await self.on_wake(tenant_id)
        return {"error": {"code": "unknown", "message": "no such tenant"}}


@dataclass
class Answer:
    """An answer as a client received it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def get(self, name: str) -> str | None:
        """The only value of a header, None if absent."""
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    def error(self) -> tuple[str, str]:
        """Class and sentence of an error, in ZenML's shape or the API's."""
        body = self.json()
        if "error" in body:
            return body["error"], body["detail"]
        name, sentence = body["detail"]
        return name, sentence


class Client:
    """A client connection that sends raw bytes and reads answers with h11."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._rest = b""

    def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self.writer.write(data)

    async def receive(self, method: str = "GET", seconds: float = 10) -> Answer:
        """The next answer; raises `h11.RemoteProtocolError` if it is broken or incomplete."""
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        parser.send(h11.EndOfMessage())
        if self._rest:
            parser.receive_data(self._rest)
        status, headers, body = 0, [], b""
        async with asyncio.timeout(seconds):
            while True:
                event = parser.next_event()
                if event is h11.NEED_DATA:
                    parser.receive_data(await self.reader.read(65536))
                elif isinstance(event, h11.Response):
                    status = event.status_code
                    headers = [(name.decode(), value.decode("latin-1")) for name, value in event.headers]
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self._rest = parser.trailing_data[0]
                    return Answer(status, headers, body)
                elif isinstance(event, h11.ConnectionClosed):
                    raise ConnectionError("closed without an answer")

    async def closed(self, seconds: float = 5) -> bytes:
        """Wait until the gateway closes; returns what still came."""
        async with asyncio.timeout(seconds):
            return self._rest + await self.reader.read()

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


def head(method: str, path: str, *headers: tuple[str, str], host: str = "localhost") -> bytes:
    """A request's head."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@dataclass
class World:
    """Everything a test needs."""

    gateway: Gateway
    keeper: Keeper
    tenant: Upstream
    api: Upstream
    internal: Upstream
    port: int
    directory: Path
    log_path: Path
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        """A new client connection."""
        client = Client(*await asyncio.open_connection("127.0.0.1", self.port))
        self.clients.append(client)
        return client

    async def ask(
        self, method: str, path: str, *headers: tuple[str, str], body: bytes = b"", host: str = "localhost"
    ) -> Answer:
        """One request on a connection of its own."""
        client = await self.connect()
        extra = (("Content-Length", str(len(body))),) if body or method in {"POST", "PUT", "PATCH"} else ()
        client.send(head(method, path, *headers, *extra, host=host) + body)
        try:
            return await client.receive(method)
        finally:
            client.close()

    def log(self) -> list[dict[str, Any]]:
        """All log lines so far."""
        self.gateway.log.flush()
        return [json.loads(line) for line in self.log_path.read_text().splitlines()]


async def until(condition: Callable[[], object], seconds: float = 5) -> None:
    """Poll until something holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.005)


@asynccontextmanager
async def world(*, state: str = "awake", route: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[World]:
    """A running gateway with one tenant `acme/one`."""
    with tempfile.TemporaryDirectory(prefix="nagaya-gw-") as name:
        directory = Path(name)
        tenant, api, internal = (Upstream(str(directory / f"{part}.sock")) for part in ("tenant", "api", "internal"))
        keeper = Keeper(str(directory / "keeper.sock"))
        keeper.routes[TENANT] = {
            "id": TENANT,
            "organization": "acme",
            "tenant": "one",
            "state": state,
            "socket": tenant.path if state == "awake" else None,
            "info": {"version": "0.98.0"},
            "reason": None,
        } | (route or {})
        for server in (tenant, api, internal, keeper):
            await server.start()
        listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        port = listening.getsockname()[1]
        options: dict[str, Any] = {"drain_seconds": 0.3, "public_url": f"http://127.0.0.1:{port}"} | settings
        log_path = directory / "log"
        with log_path.open("wb") as log_file:
            gateway = Gateway(
                GatewaySettings(
                    keeper_socket=keeper.path, api_socket=api.path, internal_socket=internal.path, **options
                ),
                Log(log_file.fileno()),
            )
            await gateway.start([listening])
            await until(lambda: gateway.link.synced)
            result = World(gateway, keeper, tenant, api, internal, port, directory, log_path)
            try:
                yield result
            finally:
                for client in result.clients:
                    client.close()
                await gateway.stop()
                for server in (tenant, api, internal, keeper):
                    await server.stop()
                await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run an asynchronous test on uvloop, as the gateway runs."""
    import uvloop  # noqa: PLC0415 - only here

    async def main() -> None:
        await test()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
