"""Requests to tenants: who may wake one, what a sleeping one answers, and the way through to one that is awake."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

from nagaya.gateway import internal
from nagaya.gateway.activity import Activity
from nagaya.gateway.answers import GatewayError, Reply, redirect, too_large_body
from nagaya.gateway.browser import Hosts
from nagaya.gateway.client import ClientConnection
from nagaya.gateway.credentials import digest_of, plausible, session_cookie
from nagaya.gateway.exchange import forward
from nagaya.gateway.forward import request_head
from nagaya.gateway.metrics import GatewayMetrics
from nagaya.gateway.pool import Pools
from nagaya.gateway.rates import RateLimits
from nagaya.gateway.request import Request
from nagaya.gateway.routes import Route, RouteTable
from nagaya.gateway.sessions import Sessions
from nagaya.gateway.settings import GatewaySettings
from nagaya.gateway.targets import Target
from nagaya.gateway.upstream import UpstreamError
from nagaya.gateway.wake import Waker

_PUBLIC = frozenset({b"/api/v1/info", b"/health", b"/ready"})
_DOCS = b"/docs"
_QUIET = _PUBLIC | {b"/metrics"}
"""Paths whose requests do not keep a tenant awake."""


class TenantDoor:
    """Answers requests below `/t/{organization}/{tenant}` and on tenants' own hosts."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        hosts: Hosts,
        table: RouteTable,
        pools: Pools,
        waker: Waker,
        sessions: Sessions,
        activity: Activity,
        rates: RateLimits,
        metrics: GatewayMetrics,
    ) -> None:
        self._metrics = metrics
        self._settings = settings
        self._hosts = hosts
        self._table = table
        self._pools = pools
        self._waker = waker
        self._sessions = sessions
        self._activity = activity
        self._rates = rates

    async def handle(self, client: ClientConnection, request: Request, target: Target, host: bytes) -> Reply | None:
        """Forward the request and return None, or return an answer; raises `GatewayError`."""
        request.route_class = "tenant"
        route = self._table.find(target.organization, target.tenant)
        if route is None:
            found = await self._unknown(target)
            if isinstance(found, Reply):
                return found
            route = found
        request.tenant_id = route.id
        if route.state == "deleted":
            raise GatewayError(410, "KeyError", f"The tenant {route.name} was deleted.")
        if route.state == "stopped":
            raise GatewayError(
                503, "ServiceUnavailable", f"The tenant {route.name} is deactivated; an administrator can activate it."
            )
        public = target.inner in _PUBLIC and request.method in {b"GET", b"HEAD"}
        # On a host of its own a tenant sees no browser's session: the cookie is the platform's host's.
        cookie, token = (None, None) if public or target.by_host else await self._session(request, route, host)
        authorization = request.get(b"authorization")
        if token is not None or authorization is not None:
            self._rates.credential(digest_of(authorization or str(token).encode()))
        credentialed = token is not None or (authorization is not None and plausible(authorization, time.time()))
        request.page = target.inner == _DOCS
        if token is None and authorization is None and request.wants_html and not public:
            reply = self._to_sign_in(request, target, route)
            if reply is not None:
                return reply
        if not route.servable and not credentialed:
            return _asleep(route, target, public=public)
        if request.content_length is not None and request.content_length > route.max_body_bytes:
            raise too_large_body(route.max_body_bytes)
        request.body.limit = route.max_body_bytes
        if request.chunked and request.body.received > route.max_body_bytes:
            raise too_large_body(route.max_body_bytes)
        counts = credentialed and target.inner not in _QUIET and request.get(b"x-nagaya-background") != b"1"
        head = request_head(request, target, host, self._hosts.forwarded(client, request, host), token)
        status = await self._pass(client, request, route, head, counts=counts)
        if status == 401 and cookie is not None and token is not None:
            self._sessions.forget(cookie, route.id)
        return None

    def _to_sign_in(self, request: Request, target: Target, route: Route) -> Reply | None:
        """Send a browser without credentials to where it can get a session; None for the page that needs none."""
        if not target.by_host:
            return redirect("/login?next=" + quote(request.target.decode("ascii"), safe="/"))
        if request.page and route.servable:
            return None
        return redirect(f"{self._hosts.public_url}/t/{route.name}{target.forward.decode('ascii')}", 307)

    async def _pass(
        self, client: ClientConnection, request: Request, route: Route, head: bytes, *, counts: bool
    ) -> int:
        """Forward, within the tenant's limits; from `enter` on the tenant is not put to sleep."""
        gate = route.gate
        if not gate.try_enter():
            await self._metrics.entering(gate.enter(self._settings.wake_seconds), "tenant")
        if counts:
            self._activity.begin(route.id)
        try:
            path = await self._socket(route)
            return await forward(
                client, request, self._pools, path, head, from_tenant=True, again=lambda: self._socket(route)
            )
        finally:
            gate.leave()
            if counts:
                self._activity.end(route.id)

    async def _socket(self, route: Route) -> str:
        if route.servable and route.socket is not None:
            return route.socket
        return await self._waker.wake(route)

    async def _session(self, request: Request, route: Route, host: bytes) -> tuple[str | None, str | None]:
        """The session cookie and the token that it is worth here; an Authorization header takes precedence over it."""
        if request.get(b"authorization") is not None:
            return None, None
        cookie = session_cookie(request.get(b"cookie"), self._hosts.cookie_name)
        if cookie is None:
            return None, None
        self._hosts.check_site(request, host)
        return cookie, await self._sessions.token(cookie, route.id)

    async def _unknown(self, target: Target) -> Reply | Route:
        """The api knows names that the keeper does not: one that was just created, or one in another spelling."""
        missing = GatewayError(404, "KeyError", "There is no such tenant.")
        query = b"organization=%s&tenant=%s" % (_quoted(target.organization), _quoted(target.tenant))
        try:
            status, content = await internal.call(
                self._settings.internal_socket, b"GET", b"/internal/v1/redirect?" + query, seconds=5
            )
            location = json.loads(content)["location"] if status == 200 else None
        except (UpstreamError, ValueError, KeyError, TypeError) as error:
            raise missing from error
        if (
            not isinstance(location, str)
            or not location.startswith("/t/")
            or not location.isascii()
            or not location.isprintable()
        ):
            raise missing
        if location.encode() == b"/t/%s/%s" % (target.organization, target.tenant):
            route = await self._table.appear(target.organization, target.tenant, self._settings.wake_seconds)
            if route is None:
                raise GatewayError(503, "ServiceUnavailable", "The tenant is still being created.", retry_after=2)
            return route
        base = location.rstrip("/")
        if target.by_host:
            base = self._hosts.origin_of(*_names(base))
        return redirect(base + target.forward.decode("ascii"), 308)


def _names(path: str) -> tuple[bytes, bytes]:
    """Organization and tenant in `/t/{organization}/{tenant}`."""
    _, _, organization, tenant = path.encode().split(b"/", 3)
    return organization, tenant


def _quoted(name: bytes) -> bytes:
    return quote(name.decode("ascii"), safe="").encode()


def _asleep(route: Route, target: Target, *, public: bool) -> Reply:
    """The answer for a tenant that is not awake, to a request that must not wake it."""
    if not public:
        sentence = "Sign in to use this tenant; it wakes up for requests that carry a valid credential."
        raise GatewayError(401, "CredentialsNotValid", sentence, headers=((b"WWW-Authenticate", b"Bearer"),))
    if route.state == "failed":
        raise GatewayError(502, "BadGateway", f"The tenant {route.name} could not be started.")
    if target.inner != b"/api/v1/info":
        return Reply(200, b'"OK"')  # What ZenML's own health endpoints answer.
    if route.info is None:
        raise GatewayError(503, "ServiceUnavailable", f"The tenant {route.name} is being set up.", retry_after=2)
    return Reply(200, route.info)
