"""The page behind an invitation's link: what is offered, and joining with an account or a new one."""

from typing import Any

from fastapi import Request
from starlette.responses import Response

from nagaya.errors import Conflict, Forbidden, InvalidInput, NagayaError
from nagaya.http.routing import Routes
from nagaya.http.state import AppState, State
from nagaya.http.transactions import UnitOfWork, origin_of, transact
from nagaya.identity.endpoints.auth import place_of
from nagaya.identity.principal import Principal
from nagaya.identity.service import sessions, users
from nagaya.invitations import links
from nagaya.pages.browser import Submitted, Visitor, go, set_session
from nagaya.pages.rendering import render
from nagaya.pages.validation import check_repeated

router = Routes(prefix="/invitation", include_in_schema=False)
MOST = 200
"""Characters of a token that are looked at; real ones have 43."""


async def _page(
    request: Request,
    state: AppState,
    visitor: Principal | None,
    token: str,
    error: NagayaError | None = None,
    **kept: Any,
) -> Response:
    opened = await links.look(state, origin_of(request), token)
    invitation = opened.invitation
    addressed = visitor is not None and (visitor.email or "").lower() == invitation.email.lower()
    return render(
        request,
        "invitation.html",
        title=f"Join {invitation.organization.display_name}",
        invitation=invitation,
        has_account=opened.has_account,
        addressed=addressed,
        token=token,
        name=kept.get("name", ""),
        error=error.detail if error else None,
        status_code=error.status if error else 200,
    )


@router.get("")
async def invitation_page(request: Request, state: State, visitor: Visitor, token: str = "") -> Response:
    """Shows an invitation; 410 if its link is not valid any more."""
    return await _page(request, state, visitor, token[:MOST])


@router.post("")
async def accept(request: Request, state: State, visitor: Visitor, form: Submitted) -> Response:
    """Accepts, with the account of whoever is signed in or with a new one, which is signed in by that."""
    token, name, password = form.get("token", "")[:MOST], form.get("name", "").strip()[:200], form.get("password")
    origin, place = origin_of(request), place_of(request)
    try:
        new = None
        if visitor is None and password is not None:
            check_repeated(password, form.get("repeated"))
            new = links.NewAccount(None, name, password)
        joined = await links.join(state, origin, token, visitor, new)
    except (InvalidInput, Conflict, Forbidden) as error:
        return await _page(request, state, visitor, token, error, name=name)
    response = go(request, f"/o/{joined.organization.name}")
    if visitor is None:
        who = joined.user.id

        def begin(work: UnitOfWork) -> sessions.Issued:
            return sessions.begin(work, state, users.get(work, who), "browser", place)

        set_session(response, state, await transact(state, origin, begin))
    return response
