"""Pages to sign in and out, and to use a set-up link."""

from fastapi import Request
from starlette.responses import Response

from nagaya.errors import InvalidInput, NagayaError, NotAuthenticated, TooManyRequests
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import UnitOfWork, origin_of, transact
from nagaya.identity import setup
from nagaya.identity.endpoints.auth import place_of
from nagaya.identity.models import SetupLink
from nagaya.identity.passwords import check_password
from nagaya.identity.schemas import FirstAdmin
from nagaya.identity.service import login, sessions
from nagaya.pages.browser import Submitted, Visitor, clear_session, go, safe_next, set_session, view
from nagaya.pages.rendering import render
from nagaya.pages.validation import check_repeated, read_form

router = Routes(include_in_schema=False)


@router.get("/login")
async def login_page(request: Request, principal: Visitor, next: str | None = None) -> Response:  # noqa: A002 - the address says `next`.
    """Shows the sign-in form, or goes on if somebody is signed in."""
    target = safe_next(next)
    if principal is not None:
        return go(request, target)
    return render(request, "login.html", title="Sign in", next=target, username="")


@router.post("/login")
async def log_in(request: Request, state: State, form: Submitted) -> Response:
    """Signs in and goes to where the visitor wanted to go."""
    target = safe_next(form.get("next"))
    username, password = form.get("username", "").strip(), form.get("password", "")
    try:
        issued = await login.sign_in(
            state, origin_of(request), place_of(request), login=username, password=password, kind="browser"
        )
    except (NotAuthenticated, TooManyRequests) as error:
        page = render(
            request,
            "login.html",
            title="Sign in",
            next=target,
            username=username[:200],
            error=error.detail,
            status_code=error.status,
        )
        page.headers.update(error.headers)
        return page
    response = go(request, target)
    set_session(response, state, issued)
    return response


@router.post("/logout")
async def log_out(request: Request, state: State, principal: Visitor, _form: Submitted) -> Response:
    """Ends the session and forgets the cookie."""
    if principal is not None and principal.session_id is not None:
        who, session_id = principal, principal.session_id
        await transact(state, origin_of(request), lambda work: sessions.end(work, state, who, session_id))
    response = go(request, "/login")
    clear_session(response, state)
    return response


def _setup_page(
    request: Request, link: SetupLink, token: str, error: NagayaError | None = None, **kept: str
) -> Response:
    email = kept.get("email") or str(link.details.get("email") or "")
    return render(
        request,
        "setup.html",
        title="Set up Nagaya" if link.user_id is None else "Choose a password",
        first=link.user_id is None,
        token=token,
        email=email,
        name=kept.get("name", ""),
        error=error.detail if error else None,
        status_code=error.status if error else 200,
    )


@router.get("/setup")
async def setup_page(request: Request, state: State, _visitor: Visitor, token: str = "") -> Response:
    """Shows the form of a set-up link; 410 if the link is not valid any more."""
    link = await view(request, lambda work: setup.usable_link(work, state, token[:200]))
    return _setup_page(request, link, token[:200])


@router.post("/setup")
async def use_setup_link(request: Request, state: State, _visitor: Visitor, form: Submitted) -> Response:
    """Makes the first administrator or sets a password, uses up the link, and signs in."""
    token = form.get("token", "")[:200]
    link = await view(request, lambda work: setup.usable_link(work, state, token))
    email, name, password = form.get("email", "").strip(), form.get("name", "").strip(), form.get("password", "")
    place = place_of(request)
    try:
        if link.user_id is None:
            wanted = read_form(FirstAdmin, email=email, name=name)
            email, name = wanted.email, wanted.name
        check_repeated(password, form.get("repeated"))
        check_password(password, email)
        async with state.passwords.slot():
            hashed = await state.passwords.hash(password)

        def finish(work: UnitOfWork) -> sessions.Issued:
            user = setup.use_link(work, state, token, email=email, name=name, password_hash=hashed)
            return sessions.begin(work, state, user, "browser", place)

        issued = await transact(state, origin_of(request), finish)
    except InvalidInput as error:
        return _setup_page(request, link, token, error, email=email, name=name)
    response = go(request, "/")
    set_session(response, state, issued)
    return response
