"""What pages share: the visitor, protection of forms against other sites, and the session cookie."""

import hmac
import secrets
from collections.abc import Callable
from typing import Annotated, TypeVar
from urllib.parse import quote, urlsplit

from anyio import to_thread
from fastapi import Depends, Request
from starlette.responses import RedirectResponse, Response

from nagaya.errors import BadRequest, Forbidden, NagayaError
from nagaya.http.state import AppState, app_state
from nagaya.http.transactions import UnitOfWork, origin_of
from nagaya.identity.policy import look_up, remember
from nagaya.identity.principal import Principal
from nagaya.identity.service.sessions import Issued
from nagaya.pages.rendering import HEADERS, give_csrf_cookie

MAX_VALUE = 100_000
T = TypeVar("T")


class SignInFirst(NagayaError):
    """A page that needs somebody who is signed in; answered by a redirect to the sign-in page (303)."""

    status = 303


async def visitor(request: Request) -> Principal | None:
    """Returns who looks at the page, by the session cookie alone, and prepares the token of its forms."""
    state = app_state(request)
    cookie = request.cookies.get(state.settings.cookie)
    principal = (
        await look_up(state, cookie, cookie=True) if cookie and len(cookie) < 4096 and cookie.isascii() else None
    )
    remember(request, principal)
    name = f"{state.settings.cookie}-csrf"
    nonce = request.cookies.get(name, "")
    if not 32 <= len(nonce) <= 64 or not nonce.isascii():
        nonce = secrets.token_urlsafe(32)
        request.state.csrf_cookie = (name, nonce, state.settings.secure)
    session = principal.session_id if principal else ""
    request.state.csrf = state.keys.keyed_hash("csrf", f"{nonce}|{session}")
    return principal


async def signed_in(request: Request, principal: Annotated[Principal | None, Depends(visitor)]) -> Principal:
    """Returns who looks at the page.

    Raises:
        SignInFirst: Nobody is signed in.
    """
    if principal is None:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        target = target if request.method == "GET" else "/"
        raise SignInFirst("Sign in first.", headers={"Location": f"/login?next={quote(target, safe='')}"})
    return principal


async def submitted(request: Request, _principal: Annotated[Principal | None, Depends(visitor)]) -> dict[str, str]:
    """Returns the text fields of a form that came from one of our own pages.

    Raises:
        Forbidden: The form was not made by a page that this browser got from us.
        BadRequest: A field is too long or holds a NUL.
    """
    async with request.form(max_files=0, max_fields=50) as form:
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    foreign = site not in (None, "same-origin") or origin not in (None, app_state(request).settings.public_url)
    if foreign or not hmac.compare_digest(fields.pop("csrf", "").encode(), request.state.csrf.encode()):
        raise Forbidden("This form has expired or came from another site. Go back, reload the page and try again.")
    if any(len(value) > MAX_VALUE or "\x00" in value for value in fields.values()):
        raise BadRequest("A field is too long or holds a character that cannot be stored.")
    return fields


Visitor = Annotated[Principal | None, Depends(visitor)]
SignedIn = Annotated[Principal, Depends(signed_in)]
Submitted = Annotated[dict[str, str], Depends(submitted)]


async def view(request: Request, function: Callable[[UnitOfWork], T]) -> T:
    """Runs `function` in a thread with a unit of work that only reads.

    Args:
        request: The request.
        function: What to read.
    """

    def run() -> T:
        work = UnitOfWork(app_state(request).database, read_only=True, origin=origin_of(request))
        try:
            return function(work)
        finally:
            work.close()

    return await to_thread.run_sync(run)


def safe_next(target: str | None) -> str:
    """Returns where to go after signing in: a path on this origin, else the start page.

    Args:
        target: What the address asked for. Anything that a browser could read as another origin is refused.
    """
    if not target or len(target) > 2000 or not target.startswith("/") or target.startswith(("//", "/\\")):
        return "/"
    if "\\" in target or not target.isprintable():
        return "/"
    parts = urlsplit(target)
    return target if not parts.scheme and not parts.netloc else "/"


def go(request: Request, target: str) -> RedirectResponse:
    """Returns the redirect after a form.

    Args:
        request: The request.
        target: A path of ours.
    """
    response = RedirectResponse(target, status_code=303, headers=HEADERS)
    give_csrf_cookie(request, response)
    return response


def set_session(response: Response, state: AppState, issued: Issued) -> None:
    """Gives the browser its session cookie."""
    response.set_cookie(
        state.settings.cookie,
        issued.token,
        max_age=issued.expires_in,
        path="/",
        secure=state.settings.secure,
        httponly=True,
        samesite="lax",
    )


def clear_session(response: Response, state: AppState) -> None:
    """Takes the session cookie back."""
    response.delete_cookie(state.settings.cookie, path="/", secure=state.settings.secure, httponly=True, samesite="lax")
