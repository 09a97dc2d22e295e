"""The guard: the ASGI layer in front of ZenML's application that decides who gets through, and with what.

It never fails open: whatever goes wrong in here ends in a refusal. The application only ever sees requests that are
public, or that carry a token of its own which the guard has verified for a present member.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID

from anyio import CapacityLimiter, to_thread

from nagaya_tenant import docs_page, openapi_document
from nagaya_tenant.admission import Admission
from nagaya_tenant.errors import (
    BadRequest,
    CredentialsRefused,
    Forbidden,
    Refusal,
    Unavailable,
    respond,
    respond_json,
    respond_refusal,
)
from nagaya_tenant.guard_checks import Inquiry, not_of_platform, workload_token
from nagaya_tenant.guard_requests import Request, read_body, replay
from nagaya_tenant.guard_tokens import Tokens, is_platform_token, issue
from nagaya_tenant.login import LARGEST_FORM, Login, PlainRefusal
from nagaya_tenant.routes import Access

if TYPE_CHECKING:
    from nagaya_tenant.asgi import ASGIApp, Message, Receive, Scope, Send
    from nagaya_tenant.audit import Audit
    from nagaya_tenant.context import Tenant
    from nagaya_tenant.guard_tokens import OwnToken
    from nagaya_tenant.routes import Match, Router

INTERNAL_TOKEN_SECONDS = 330
DEFAULT_TOKEN_SECONDS = 3600
LONGEST_TOKEN_SECONDS = 604_800
_CHECK_THREADS = 8
_EVENTS = b"text/event-stream"
_TENANT_KIND = frozenset({"tenant"})
_CHANGES = frozenset({"POST", "PUT", "PATCH", "DELETE"})

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """Who a request comes from.

    Args:
        principal: The platform's id.
        account: ZenML's id.
        session: The platform's session, if the token belongs to one.
        issued_at: When the token was issued, in seconds since the epoch.
        run_scope: Whether it is a token of a run.
    """

    principal: str
    account: UUID
    session: str | None
    issued_at: float
    run_scope: bool


class Guard:
    """The layer.

    Args:
        app: ZenML's application.
        router: Finds the application's route of a request.
        tenant: The parts of this process.
        audit: Records changes.
    """

    def __init__(self, app: ASGIApp, router: Router, tenant: Tenant, audit: Audit) -> None:
        self._app = app
        self._router = router
        self._tenant = tenant
        self._audit = audit
        self._tokens = Tokens(tenant.policy, str(tenant.settings.tenant_id))
        self._admission = Admission(tenant.policy, self._tokens, tenant.channel)
        self._login = Login(tenant, self._admission)
        self._threads: CapacityLimiter | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request; see the module's description."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        watch = _Watch(send)
        try:
            await self._handle(scope, receive, watch)
        except Refusal as refusal:
            if watch.status is None:
                await respond_refusal(send, refusal)
        except Exception:
            if watch.ended:
                return
            log.exception("The guard could not handle %s %r; the request was refused.", scope["method"], scope["path"])
            if watch.status is None:
                await respond_refusal(send, Unavailable("The request could not be checked and was refused."))

    async def _handle(self, scope: Scope, receive: Receive, send: _Watch) -> None:
        request = Request.read(scope, self._tenant.settings.root_path)
        found = self._router.match(request.method, request.path)
        if found is None:
            await self._app(request.scope, receive, send)
            return
        access = found.route.access
        if access is Access.REFUSED:
            # Strangers learn nothing about what is refused, not even that.
            await self._identify(request)
            raise Forbidden(found.route.reason)
        if access is Access.PUBLIC:
            request.bind_idempotency("")
            await self._app(request.scope, receive, send)
        elif access is Access.LOCAL:
            await self._answer(request, found, receive, send)
        else:
            await self._pass(request, found, await self._identify(request), receive, send)

    async def _answer(self, request: Request, found: Match, receive: Receive, send: _Watch) -> None:
        """Answers the routes that never reach the application."""
        settings = self._tenant.settings
        path = found.route.path
        if path == "/openapi.json":
            await respond(send, 200, await openapi_document.document(request.prefix))
        elif path == "/docs":
            head = docs_page.headers(settings.public_url)
            page = docs_page.render(settings.public_url, request.prefix)
            await respond(send, 200, page, content_type="text/html; charset=utf-8", headers=head)
        elif path.endswith("/device_authorization"):
            raise PlainRefusal(403, "Device authorization is not supported.")
        elif path.endswith("/login"):
            body = await read_body(receive, LARGEST_FORM)
            answer, principal = await self._login.answer(request, body)
            if principal is not None:
                await asyncio.wrap_future(self._audit.note(principal, request.method, path, request.request_id))
            await respond_json(send, 200, answer, headers=(("cache-control", "no-store"),))
        else:
            await self._api_token(request, found, receive, send)

    async def _api_token(self, request: Request, found: Match, receive: Receive, send: _Watch) -> None:
        """`GET /api_token`: generic tokens are issued here, so that they end with the session that asked for them."""
        identity = await self._identify(request)
        inquiry = self._inquiry(request, found, identity, b"")
        workload_token(inquiry)
        if inquiry.query_value("token_type") == "workload":
            await self._pass(request, found, identity, receive, send)
            return
        if any(inquiry.query_value(name) for name in ("schedule_id", "pipeline_run_id", "deployment_id")):
            raise BadRequest("Generic API tokens cannot be scoped to a schedule, pipeline run or deployment.")
        text = inquiry.query_value("expires_in") or "0"
        if not (text.isascii() and text.isdigit()):
            raise BadRequest("expires_in must be a whole number of seconds.", status=422)
        seconds = int(text[:12]) or DEFAULT_TOKEN_SECONDS
        if seconds > LONGEST_TOKEN_SECONDS:
            raise BadRequest(f"An API token can live for {LONGEST_TOKEN_SECONDS} seconds at most.")
        token = issue(identity.account, identity.principal, identity.session, seconds)
        await respond_json(send, 200, token, headers=(("cache-control", "no-store"),))

    async def _identify(self, request: Request) -> Identity:
        """Verifies the token, and that its principal is a member now.

        Side effect: the request's token is one that the application accepts.
        """
        token = request.bearer()
        if is_platform_token(token):
            principal, verified = await self._admission.admit(token, _TENANT_KIND)
            account = self._tenant.principals.known(principal)
            if account is None:
                account = await to_thread.run_sync(self._tenant.principals.ensure, principal)
            own = issue(account, principal.id, verified.session, INTERNAL_TOKEN_SECONDS)
            request.replace_header(b"authorization", f"Bearer {own}")
            return Identity(principal.id, account, verified.session, verified.issued_at, run_scope=False)
        own_token = self._tokens.own(token)
        return await self._member(own_token)

    async def _member(self, token: OwnToken) -> Identity:
        principals = self._tenant.principals
        principal = principals.known_principal(token.account)
        if principal is None:
            principal = await to_thread.run_sync(principals.principal_of, token.account, limiter=self._limiter())
        if principal is None:
            raise CredentialsRefused("Authentication error: this account cannot log in.")
        if token.principal is not None and token.principal != principal:
            raise CredentialsRefused("Authentication error: the token does not belong to its account any more.")
        self._tenant.policy.require_token(principal, token.issued_at, token.session)
        if token.deployment is not None:
            await to_thread.run_sync(self._require_deployment, token.deployment, limiter=self._limiter())
        return Identity(principal, token.account, token.session, token.issued_at, token.run_scope)

    def _require_deployment(self, deployment: UUID) -> None:
        """Ends tokens of a deployment with it: they have no end of their own, and ZenML 0.94.6 lets them live on."""
        if self._tenant.rows.value("deployment", deployment, "id") is None:
            raise CredentialsRefused(f"Authentication error: deployment {deployment} does not exist.")

    async def _pass(self, request: Request, found: Match, identity: Identity, receive: Receive, send: _Watch) -> None:
        """Checks what ZenML does not, records changes, and hands over."""
        route = found.route
        if identity.run_scope and not route.run:
            raise Forbidden(
                f"A token of a run cannot be used for {route.method} {route.path}: it can do only what a run needs."
            )
        body = b""
        if route.body:
            body = await read_body(receive)
            receive = replay(body, receive)
        if route.checks or (route.row is not None and request.method in _CHANGES):
            inquiry = self._inquiry(request, found, identity, body)
            await to_thread.run_sync(_run_checks, found, inquiry, limiter=self._limiter())
        request.bind_idempotency(identity.principal)
        send.on_chunk = lambda: self._tenant.policy.require_token(
            identity.principal, identity.issued_at, identity.session
        )
        if not route.audit:
            await self._app(request.scope, receive, send)
            return
        event = await self._audit.intend(identity.principal, route.method, route.path, found.params, request.request_id)
        try:
            await self._app(request.scope, receive, send)
        except Exception:
            send.status = send.status or 500
            raise
        finally:
            self._audit.conclude(event, send.status)

    def _inquiry(self, request: Request, found: Match, identity: Identity, body: bytes) -> Inquiry:
        return Inquiry(
            tenant=self._tenant,
            principal=identity.principal,
            account=identity.account,
            run_scope=identity.run_scope,
            params=found.params,
            query=request.scope.get("query_string", b""),
            raw_body=body,
        )

    def _limiter(self) -> CapacityLimiter:
        if self._threads is None:
            # Threads of our own, so that slow handlers of the application cannot starve decisions.
            self._threads = CapacityLimiter(_CHECK_THREADS)
        return self._threads


class _Watch:
    """A `send` that remembers the status, and ends a stream when its reader stops being a member."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.ended = False
        self.status: int | None = None
        self.on_chunk: Any = None
        self._streams = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"set-cookie"]
            # An ordinary answer was decided on as a whole: cut in the middle it would only be malformed.
            self._streams = any(
                pair[0].lower() == b"content-type" and _EVENTS in pair[1] for pair in message["headers"]
            )
        elif self.ended:
            raise OSError("The stream was ended.")
        elif self._streams and message.get("more_body") and self.on_chunk is not None:
            try:
                self.on_chunk()
            except Refusal as refusal:
                log.info("A stream was ended: %s", refusal.sentence)
                self.ended = True
                message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)


def _run_checks(found: Match, inquiry: Inquiry) -> None:
    if found.route.row is not None:
        table, param = found.route.row
        not_of_platform(inquiry, table, found.params[param])
    for check in found.route.checks:
        check(inquiry)
