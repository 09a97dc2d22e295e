"""The gateway as a whole: dispatches requests, follows the keeper's events, and keeps time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from nagaya.gateway import internal
from nagaya.gateway.access_log import Log
from nagaya.gateway.activity import Activity
from nagaya.gateway.answers import GatewayError, Reply, json_reply, too_large_body
from nagaya.gateway.browser import Hosts
from nagaya.gateway.client import ClientConnection
from nagaya.gateway.exchange import forward
from nagaya.gateway.forward import Additions, request_head
from nagaya.gateway.keeper_link import KeeperLink
from nagaya.gateway.limits import ConnectionLimits, Gate
from nagaya.gateway.metrics import GatewayMetrics, collect, observe
from nagaya.gateway.metrics_door import MetricsDoor
from nagaya.gateway.pool import Pools
from nagaya.gateway.proxies import Proxies
from nagaya.gateway.rates import RateLimits
from nagaya.gateway.redirects import better_address, to_https
from nagaya.gateway.request import Request
from nagaya.gateway.routes import Route, RouteTable
from nagaya.gateway.sessions import Sessions
from nagaya.gateway.settings import GatewaySettings
from nagaya.gateway.targets import Target, parse_target
from nagaya.gateway.tenants import TenantDoor
from nagaya.gateway.tls import Certificate, TlsDoor
from nagaya.gateway.upstream import UpstreamError
from nagaya.gateway.wake import Waker

_PROBES = frozenset({b"/health", b"/ready"})
_READY_SECONDS = 2.0
_REPORT_SECONDS = 1.0


class Gateway:
    """One gateway process. `start` on listening sockets, `stop` once."""

    def __init__(self, settings: GatewaySettings, log: Log) -> None:
        self.settings = settings
        self.log = log
        self.metrics = GatewayMetrics(tenants=settings.metrics_tenants)
        self.limits = ConnectionLimits(settings.max_connections, settings.max_connections_per_address)
        self.rates = RateLimits(settings)
        self.proxies = Proxies(settings.trusted_proxies, settings.forwarded_family)
        self.added = Additions.of(settings.public_url.rstrip("/"), settings.hsts_seconds)
        self.connections: set[ClientConnection] = set()
        self.closing = self.leaving = False
        self._empty = asyncio.Event()
        self.table = RouteTable(
            default_max_in_flight=settings.default_max_in_flight,
            default_max_body_bytes=settings.default_max_body_bytes,
            queue=settings.queue_per_upstream,
        )
        self.pools = Pools(settings.pool_size, settings.pool_idle_seconds, self.metrics.connects)
        self.activity = Activity()
        self.link = KeeperLink(settings.keeper_socket, log, self._event, self._connected)
        self._hosts = Hosts(settings)
        self._api_gate = Gate(settings.api_max_in_flight, settings.queue_per_upstream)
        self._tenants = TenantDoor(
            settings,
            hosts=self._hosts,
            table=self.table,
            pools=self.pools,
            waker=Waker(self.link, settings.wake_seconds, self.metrics),
            sessions=Sessions(settings.internal_socket),
            activity=self.activity,
            rates=self.rates,
            metrics=self.metrics,
        )
        observe(self)
        self._metrics_door = MetricsDoor(self._render_metrics, settings.metrics_token_sha256)
        self._servers: list[asyncio.Server] = []
        self._door: TlsDoor | None = None
        self._clock: asyncio.Task[None] | None = None
        self._tellers: set[asyncio.Task[None]] = set()

    # Clients.

    def disconnected(self, client: ClientConnection) -> None:
        """A client's connection ended."""
        self.connections.discard(client)
        if (self.closing or self.leaving) and not self.connections:
            self._empty.set()

    async def handle(self, client: ClientConnection, request: Request) -> None:
        """Answer one request."""
        try:
            reply = await self._dispatch(client, request)
        except GatewayError as error:
            client.send_error(request, error)
            return
        if reply is not None:
            client.send_reply(request, reply)

    async def _dispatch(self, client: ClientConnection, request: Request) -> Reply | None:
        host = self._hosts.check(request)
        if client.redirects:
            return to_https(request, host, self._hosts)
        owner = self._hosts.owner(host)
        target = parse_target(request.target, owner)
        if owner is None and target.path in _PROBES and request.method in {b"GET", b"HEAD"}:
            return await self._ready() if target.path == b"/ready" else json_reply(200, {"status": "ok"})
        if not target.organization:
            request.route_class = "api"
        self.rates.address(request.address)
        elsewhere = better_address(request, target, host, self._hosts)
        if elsewhere is not None:
            return elsewhere
        if target.organization:
            return await self._tenants.handle(client, request, target, host)
        await self._api(client, request, target, host)
        return None

    async def _api(self, client: ClientConnection, request: Request, target: Target, host: bytes) -> None:
        limit = self.settings.api_max_body_bytes
        if max(request.content_length or 0, request.body.received) > limit:
            raise too_large_body(limit)
        request.body.limit = limit
        head = request_head(request, target, host, self._hosts.forwarded(client, request, host), None)
        if not self._api_gate.try_enter():
            await self.metrics.entering(self._api_gate.enter(self.settings.wake_seconds), "api")
        try:
            await forward(
                client, request, self.pools, self.settings.api_socket, head, from_tenant=False, again=self._api_socket
            )
        finally:
            self._api_gate.leave()

    async def _api_socket(self) -> str:
        return self.settings.api_socket

    async def _ready(self) -> Reply:
        """Whether everything that new requests may need is there."""
        checks = {"keeper": "ok" if self.link.connected and self.link.synced else "unreachable"}
        try:
            status, _ = await internal.call(self.settings.api_socket, b"GET", b"/health", seconds=_READY_SECONDS)
            checks["api"] = "ok" if status < 500 else f"answers {status}"
        except UpstreamError:
            checks["api"] = "unreachable"
        ready = all(state == "ok" for state in checks.values())
        return json_reply(200 if ready else 503, {"status": "ready" if ready else "not ready", "checks": checks})

    # What it says about itself.

    def load(self, what: Literal["entered", "waiting"]) -> tuple[int, int]:
        """How many requests to the api and to tenants are let through, or wait for a place."""
        gates = [route.gate for route in self.table.routes()]
        if what == "entered":
            return self._api_gate.entered, sum(gate.entered for gate in gates)
        return self._api_gate.waiting, sum(gate.waiting for gate in gates)

    def count(self, request: Request, status: int) -> None:
        """A request has ended."""
        route = self.table.get(request.tenant_id) if request.tenant_id else None
        self.metrics.request(request, status, route.name if route is not None else None)

    async def _render_metrics(self) -> bytes:
        from nagaya.metrics.exposition import render  # noqa: PLC0415 - it loads a library, which few need.

        return render(await collect(self))

    async def serve_metrics(self, listener: socket.socket) -> None:
        """Answer scrapes on a socket of their own."""
        await self._metrics_door.serve(listener)

    # The keeper's events.

    def _connected(self) -> None:
        self.table.begin_sync()
        self.activity.repeat()

    def _event(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "route":
            _, stale = self.table.update(event)
            if stale is not None:
                self.pools.drop(stale)
        elif kind == "synced":
            for route in self.table.end_sync():
                self._forget(route)
        elif kind == "gone":
            removed = self.table.remove(str(event["id"]))
            if removed is not None:
                self._forget(removed)
        elif kind == "quiesce":
            self._quiesce(str(event["id"]))

    def _forget(self, route: Route) -> None:
        self.activity.forget(route.id)
        self.metrics.tenant_gone(route.name)
        if route.socket is not None:
            self.pools.drop(route.socket)

    def _quiesce(self, tenant_id: str) -> None:
        """Agree to a stop only if nothing is in flight; from this very moment new requests go through `wake`."""
        route = self.table.get(tenant_id)
        quiet = route is None or route.gate.in_flight == 0
        if route is not None and quiet:
            route.draining = True
            if route.socket is not None:
                self.pools.drop(route.socket)
        self._tell("quiesced", id=tenant_id, ok=quiet)

    def _tell(self, method: str, **params: Any) -> None:
        task = asyncio.create_task(self.link.tell(method, **params))
        self._tellers.add(task)
        task.add_done_callback(self._tellers.discard)

    # Life.

    async def start(self, sockets: Sequence[socket.socket], redirecting: Sequence[socket.socket] = ()) -> None:
        """Serve on the listening `sockets`, and show the way to TLS on those of `redirecting`.

        Raises:
            CertificateError: The certificate cannot be used.
        """
        loop = asyncio.get_running_loop()
        if self.settings.tls_certificate is not None and self._door is None:
            key = self.settings.tls_key
            certificate = Certificate(Path(self.settings.tls_certificate), Path(key) if key else None, self.log)
            self._door = TlsDoor(self.settings, certificate, self.proxies, partial(ClientConnection, self))
        if self._clock is None:
            self.link.start()
            self._clock = asyncio.create_task(self._keep_time(), name="clock")
        for listening in sockets:
            if self._door is not None:
                self._door.open(listening)
                continue
            server = await loop.create_server(partial(ClientConnection, self), sock=listening, backlog=1024)
            self._servers.append(server)
        for listening in redirecting:
            server = await loop.create_server(partial(ClientConnection, self, redirects=True), sock=listening)
            self._servers.append(server)

    def refresh_certificate(self, *, force: bool = False) -> None:
        """Take over a renewed certificate."""
        if self._door is not None:
            self._door.certificate.refresh(force=force)

    async def hand_over(self) -> None:
        """Leave new connections to a successor, and stay until those that exist have ended.

        Each ends with its next answer, which says so: closing an idle one now could destroy a request on its way.
        """
        self.leaving = True
        await self._metrics_door.close()
        if self._door is not None:
            await self._door.close()
        for server in self._servers:
            server.close()
        if self.connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), self.settings.hand_over_seconds)

    async def stop(self) -> None:
        """Stop accepting, let what is in flight finish within `drain_seconds`, close everything."""
        self.closing = True
        for server in self._servers:
            server.close()
        if self._door is not None:
            await self._door.close()
        for client in list(self.connections):
            client.shut_down()
        if self.connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), self.settings.drain_seconds)
        for client in list(self.connections):
            if client.transport is not None:
                client.transport.abort()
        if self._clock is not None:
            self._clock.cancel()
            await asyncio.gather(self._clock, return_exceptions=True)
        await self._metrics_door.close()
        await self.link.close()
        self.pools.close()
        self.log.flush()

    async def _keep_time(self) -> None:
        loop = asyncio.get_running_loop()
        next_report = loop.time()
        while True:
            await asyncio.sleep(self.settings.sweep_seconds)
            now = loop.time()
            for client in list(self.connections):
                client.sweep(now)
            self.pools.sweep(now)
            self.log.flush()
            if now < next_report:
                continue
            next_report = now + _REPORT_SECONDS
            self.refresh_certificate()
            if self.link.connected:
                news = self.activity.report()
                if news:
                    self._tell("activity", tenants=news)
