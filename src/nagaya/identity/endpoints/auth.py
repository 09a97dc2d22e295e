"""Signing in and out: `/auth`."""

import uuid
from typing import Annotated

from fastapi import Form, Path, Request, Response
from fastapi.responses import JSONResponse

from nagaya.errors import Conflict, ErrorBody, Forbidden, TooManyRequests, responses
from nagaya.http.routing import Routes
from nagaya.http.state import AppState, State
from nagaya.http.transactions import TransactionRoute, Work, address_of, origin_of, transact
from nagaya.identity.models import Device
from nagaya.identity.policy import CurrentPrincipal
from nagaya.identity.schemas import Connection, DeviceAuthorization, OAuthError, OAuthToken, TenantToken
from nagaya.identity.service import api_keys, devices, key_format, login, sessions, tenant_access

router = Routes(prefix="/auth", tags=["auth"], route_class=TransactionRoute)

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
FormText = Annotated[str | None, Form(max_length=4096)]


def place_of(request: Request) -> sessions.Place:
    """Returns from where a request comes."""
    return sessions.Place(address_of(request), request.headers.get("user-agent", ""))


def oauth_error(error: str, description: str, status: int = 400) -> JSONResponse:
    """Returns an error in the shape of RFC 6749 section 5.2, with no other member."""
    headers = {"Cache-Control": "no-store"}
    return JSONResponse({"error": error, "error_description": description}, status_code=status, headers=headers)


def oauth_token(issued: sessions.Issued, device: Device | None = None) -> JSONResponse:
    """Returns a token in the shape of RFC 6749 section 5.1."""
    metadata = None
    if device is not None:
        metadata = {
            "tenant_id": str(device.tenant_id) if device.tenant_id else None,
            "hostname": device.hostname,
            "os": device.system,
        }
    token = OAuthToken(
        access_token=issued.token,
        expires_in=issued.expires_in,
        device_id=device.id if device else None,
        device_metadata=metadata,
    )
    return JSONResponse(token.model_dump(mode="json"), headers={"Cache-Control": "no-store", "Pragma": "no-cache"})


@router.post(
    "/login",
    response_model=OAuthToken,
    responses=responses(TooManyRequests)
    | {
        400: {"model": OAuthError, "description": "RFC 6749 or RFC 8628 error."},
        401: {"model": OAuthError | ErrorBody, "description": "Not the client's secret, or no valid credentials."},
    },
)
async def log_in(
    request: Request,
    state: State,
    *,
    grant_type: FormText = None,
    username: FormText = None,
    password: FormText = None,
    client_id: FormText = None,
    client_secret: FormText = None,
    device_code: FormText = None,
    audience: FormText = None,
) -> Response:
    """Gives a token for a device code, a server's client secret, a password, or an API key in `password`."""
    if grant_type == DEVICE_GRANT:
        return await _device_grant(request, state, client_id, device_code)
    if grant_type == "client_credentials":
        return await _client_credentials(request, state, client_id, client_secret)
    if grant_type not in (None, "", "password"):
        return oauth_error("unsupported_grant_type", f"The grant type {grant_type[:100]!r} is not supported.")
    if password and password.startswith(key_format.PREFIX):
        key, place = password, place_of(request)
        issued = await transact(state, origin_of(request), lambda work: api_keys.exchange(work, state, key, place))
        return oauth_token(issued)
    if not username or not password:
        return oauth_error("invalid_request", "Send username and password, an API key as password, or a grant_type.")
    place = place_of(request)
    issued = await login.sign_in(state, origin_of(request), place, login=username, password=password, kind="password")
    return oauth_token(issued)


async def _device_grant(request: Request, state: AppState, client_id: str | None, code: str | None) -> Response:
    try:
        client = uuid.UUID(client_id or "")
    except ValueError:
        return oauth_error("invalid_request", "client_id must be the UUID that began the authorization.")
    if not code:
        return oauth_error("invalid_request", "device_code is missing.")
    place = place_of(request)
    answer = await transact(state, origin_of(request), lambda work: devices.poll(work, state, client, code, place))
    if isinstance(answer, devices.OAuthFailure):
        return oauth_error(answer.error, answer.description)
    return oauth_token(answer.issued, answer.device)


async def _client_credentials(
    request: Request, state: AppState, client_id: str | None, client_secret: str | None
) -> Response:
    issued = await transact(
        state,
        origin_of(request),
        lambda work: tenant_access.server_token(work, state, client_id or "", client_secret or ""),
    )
    if issued is None:
        return oauth_error("invalid_client", "The client id or secret is wrong, or the tenant is deleted.", 401)
    return JSONResponse(
        {"access_token": issued.access_token, "token_type": "bearer", "expires_in": issued.expires_in},
        headers={"Cache-Control": "no-store", "Pragma": "no-cache"},
    )


@router.post(
    "/device_authorization",
    responses=responses(TooManyRequests) | {400: {"model": OAuthError, "description": "RFC 6749 error."}},
)
def authorize_device(
    request: Request,
    response: Response,
    work: Work,
    state: State,
    client_id: Annotated[uuid.UUID, Form(description="The client's own id.")],
    device_id: Annotated[uuid.UUID | None, Form(description="Ignored: each sign-in is a new device.")] = None,
) -> DeviceAuthorization:
    """Begins a device authorization (RFC 8628 section 3.1)."""
    started = devices.start(work, state, client_id, place_of(request))
    response.headers["Cache-Control"] = "no-store"
    uri = f"{state.settings.public_url}/devices/verify"
    return DeviceAuthorization(
        device_code=started.device_code,
        user_code=started.user_code,
        verification_uri=uri,
        verification_uri_complete=f"{uri}?user_code={started.user_code}",
        expires_in=state.settings.device_code_seconds,
        interval=started.device.interval,
    )


@router.get("/connections")
def list_connections() -> list[Connection]:
    """Lists the ways to sign in."""
    return [Connection()]


@router.post("/logout", status_code=204)
def log_out(response: Response, work: Work, state: State, principal: CurrentPrincipal) -> None:
    """Ends the session that the caller uses."""
    if principal.session_id is None:
        raise Forbidden("A raw API key has no session to end; revoke the key instead.")
    sessions.end(work, state, principal, principal.session_id)
    response.delete_cookie(state.settings.cookie, path="/", secure=state.settings.secure, httponly=True)


@router.get("/api_token")
def api_token(response: Response, state: State, principal: CurrentPrincipal) -> str:
    """Returns a token that is valid for an hour and ends with the caller's session."""
    issued = sessions.short_token(state, principal)
    if issued is None:
        raise Forbidden("Exchange the API key at POST /auth/login instead.")
    response.headers["Cache-Control"] = "no-store"
    return issued.token


@router.post("/tenant_authorization/{tenant_id}", responses=responses(Conflict, Forbidden))
def authorize_tenant(
    tenant_id: Annotated[str, Path(max_length=64)],
    response: Response,
    work: Work,
    state: State,
    principal: CurrentPrincipal,
) -> TenantToken:
    """Returns a token of five minutes for one tenant."""
    response.headers["Cache-Control"] = "no-store"
    issued = tenant_access.tenant_token(work, state, principal, tenant_id)
    return TenantToken(access_token=issued.access_token, expires_in=issued.expires_in)
