"""Named dependencies that authenticate a request before its body runs."""

import time
import uuid
from typing import Annotated

import structlog
from anyio import to_thread
from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPBearer

from nagaya.errors import Forbidden, NotAuthenticated, TooManyRequests
from nagaya.http.state import AppState, app_state
from nagaya.http.transactions import SAFE_METHODS, origin_of
from nagaya.identity.principal import Principal, Server
from nagaya.identity.service import authentication
from nagaya.rates import Buckets

MAX_TOKEN = 4096
_BUCKETS = "principal_buckets"

# These two only describe the ways in for OpenAPI; the code below reads the headers itself.
_bearer_scheme = HTTPBearer(
    auto_error=False, scheme_name="bearer", description="A session or device token, or an API key."
)
_cookie_scheme = APIKeyCookie(name="nagaya", auto_error=False, scheme_name="cookie", description="A browser's session.")
_server_scheme = HTTPBearer(auto_error=False, scheme_name="server", description="Token of a tenant's ZenML server.")


def bearer_of(request: Request) -> str | None:
    """Returns the bearer token of a request, if it sent one.

    Raises:
        NotAuthenticated: The header is there and is not a bearer token.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > MAX_TOKEN or not token.isascii():
        raise NotAuthenticated("The Authorization header must be 'Bearer <token>'.")
    return token


def same_origin(request: Request, state: AppState) -> bool:
    """Whether a request that changes something was made by our own pages or by a script that means it.

    What the browser itself says about the page (`Origin`, `Sec-Fetch-Site`) counts first: our header does not outweigh
    it. The gateway judges requests to tenants alike (`nagaya.gateway.browser`).
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "").lower()
    # A browser writes the Host itself, so an Origin that repeats it is ours under another name (localhost).
    host = request.headers.get("host", "").lower()
    own = {state.settings.public_url.lower(), f"http://{host}", f"https://{host}"}
    if (origin is not None and origin.lower() not in own) or site in {"cross-site", "same-site"}:
        return False
    return site == "same-origin" or origin is not None or request.headers.get("x-nagaya-csrf") == "1"


async def optional_principal(request: Request) -> Principal | None:
    """Returns who makes the request; None without credentials or with a cookie that has ended.

    Raises:
        NotAuthenticated: A bearer token was sent and is not valid.
        Forbidden: A cookie was sent with a change that may come from another site.
    """
    if hasattr(request.state, "principal"):
        known: Principal | None = request.state.principal
        return known
    state = app_state(request)
    token = bearer_of(request)
    cookie = token is None
    if token is None:
        token = request.cookies.get(state.settings.cookie)
    principal = None
    if token:
        principal = await look_up(state, token, cookie=cookie)
    if principal is not None:
        count(state, principal.id)
    if principal is not None and cookie and request.method not in SAFE_METHODS and not same_origin(request, state):
        raise Forbidden("This change came from another site. Send the header X-Nagaya-CSRF: 1, or use a bearer token.")
    remember(request, principal)
    return principal


def count(state: AppState, principal: uuid.UUID) -> None:
    """Counts a request of a principal, with whatever credential.

    Raises:
        TooManyRequests: The principal's rate limit is reached, in this process.
    """
    settings = state.settings
    buckets: Buckets | None = state.extras.get(_BUCKETS)
    if buckets is None:
        buckets = Buckets(settings.principal_rate, settings.principal_burst, time.monotonic)
        state.extras[_BUCKETS] = buckets
    refused = buckets.take(principal)
    if refused is not None:
        raise TooManyRequests(
            f"Too many requests of this account; try again in {refused.retry_after} s.",
            retry_after=refused.retry_after,
            limit=refused.limit,
            reset=refused.reset,
        )


def remember(request: Request, principal: Principal | None) -> None:
    """Notes who makes the request, for pages, the audit record and logs."""
    request.state.principal = principal
    if principal is not None:
        origin = origin_of(request)
        origin.actor_id, origin.actor_kind, origin.actor_name = principal.id, principal.kind, principal.username
        structlog.contextvars.bind_contextvars(principal_id=str(principal.id))


async def look_up(state: AppState, token: str, *, cookie: bool) -> Principal | None:
    """Returns whose token this is; None for a cookie that is not valid.

    Args:
        state: The application's state.
        token: What was sent.
        cookie: Whether it came as a cookie.

    Raises:
        NotAuthenticated: It is not valid, and no cookie.
    """

    def read() -> Principal | None:
        with state.database.read() as db:
            try:
                return authentication.by_token(db, state, token, cookie=cookie)
            except NotAuthenticated:
                if cookie:
                    return None
                raise

    return await to_thread.run_sync(read)


async def current_principal(
    principal: Annotated[Principal | None, Depends(optional_principal)],
    _bearer: Annotated[object, Depends(_bearer_scheme)] = None,
    _cookie: Annotated[object, Depends(_cookie_scheme)] = None,
) -> Principal:
    """Returns who makes the request.

    Raises:
        NotAuthenticated: No valid credentials.
    """
    if principal is None:
        raise NotAuthenticated
    return principal


async def current_user(principal: Annotated[Principal, Depends(current_principal)]) -> Principal:
    """Returns the person who makes the request.

    Raises:
        Forbidden: It is a service account.
    """
    if principal.kind != "user":
        raise Forbidden("Only people can do this; the caller is a service account.")
    return principal


async def superuser(principal: Annotated[Principal, Depends(current_user)]) -> Principal:
    """Returns the superuser who makes the request.

    Raises:
        Forbidden: The caller is not one.
    """
    if not principal.superuser:
        raise Forbidden("Only superusers can do this.")
    return principal


async def interactive_user(principal: Annotated[Principal, Depends(current_user)]) -> Principal:
    """Returns a person who signed in with a password; for acts that a stolen key must not be able to do.

    Raises:
        Forbidden: The credential is an API key or a device's token.
    """
    if principal.credential not in ("browser", "password"):
        raise Forbidden("Sign in with your password for this: API keys and device tokens cannot do it.")
    return principal


async def current_minter(principal: Annotated[Principal, Depends(current_principal)]) -> Principal:
    """Returns a caller who may make API keys for machines: not a machine's key itself, or it could outlive itself.

    Raises:
        Forbidden: The credential is an API key or came out of one.
    """
    if principal.credential == "api_key":
        raise Forbidden("API keys cannot make API keys; sign in as a person.")
    return principal


async def minting_user(principal: Annotated[Principal, Depends(current_minter)]) -> Principal:
    """Returns a person who may make personal API keys.

    Raises:
        Forbidden: The credential came out of an API key, or the caller is a service account.
    """
    return await current_user(principal)


async def server_principal(request: Request, _scheme: Annotated[object, Depends(_server_scheme)] = None) -> Server:
    """Returns the tenant's server that makes the request.

    Raises:
        NotAuthenticated: No valid server token.
    """
    state = app_state(request)
    token = bearer_of(request)
    if token is None:
        raise NotAuthenticated

    def read() -> Server:
        with state.database.read() as db:
            return authentication.server_by_token(db, state, token)

    server = await to_thread.run_sync(read)
    origin = origin_of(request)
    origin.actor_id, origin.actor_kind, origin.actor_name = server.tenant_id, "server", server.name
    structlog.contextvars.bind_contextvars(principal_id=str(server.tenant_id))
    return server


OptionalPrincipal = Annotated[Principal | None, Depends(optional_principal)]
CurrentPrincipal = Annotated[Principal, Depends(current_principal)]
CurrentUser = Annotated[Principal, Depends(current_user)]
InteractiveUser = Annotated[Principal, Depends(interactive_user)]
MintingUser = Annotated[Principal, Depends(minting_user)]
Superuser = Annotated[Principal, Depends(superuser)]
ServerPrincipal = Annotated[Server, Depends(server_principal)]
