"""The page of the own account: password, sessions, API keys."""

import uuid
from typing import Any

from fastapi import Request
from starlette.responses import Response

from nagaya.errors import NagayaError
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import UnitOfWork, origin_of, transact
from nagaya.identity import repository
from nagaya.identity.passwords import check_password
from nagaya.identity.principal import Principal
from nagaya.identity.schemas import ApiKeyCreate
from nagaya.identity.service import api_keys, own_password, sessions, users
from nagaya.pages.browser import SignedIn, Submitted, go, view
from nagaya.pages.rendering import render
from nagaya.pages.validation import check_repeated, read_form

router = Routes(prefix="/account", include_in_schema=False)
SHOWN = 50


async def _page(request: Request, state: State, principal: Principal, **shown: Any) -> Response:
    def read(work: UnitOfWork) -> dict[str, Any]:
        live = work.session.scalars(repository.live_sessions(principal.id, state.now()).limit(SHOWN)).all()
        keys = work.session.scalars(repository.api_keys(principal.id).limit(SHOWN)).all()
        return {"sessions": live, "keys": keys, "now": state.now()}

    context = {"new_key": None} | await view(request, read) | shown
    return render(request, "account.html", title="Your account", **context)


async def _failed(request: Request, state: State, principal: Principal, error: NagayaError) -> Response:
    return await _page(request, state, principal, error=error.detail, status_code=error.status)


@router.get("")
async def account_page(request: Request, state: State, principal: SignedIn) -> Response:
    """Shows the account."""
    return await _page(request, state, principal)


@router.post("/password")
async def change_password(request: Request, state: State, principal: SignedIn, form: Submitted) -> Response:
    """Sets a new password and ends all other sessions."""
    old, new = form.get("old_password", ""), form.get("password", "")
    try:
        check_repeated(new, form.get("repeated"))
        check_password(new, principal.username, principal.email or "")
        hashed = await own_password.verify_and_hash(state, request, principal, old, new)
        await transact(state, origin_of(request), lambda work: users.change_password(work, state, principal, hashed))
    except NagayaError as error:
        return await _failed(request, state, principal, error)
    return await _page(request, state, principal, notice="Your password was changed; all other sessions have ended.")


@router.post("/sessions/{session_id}/end")
async def end_session(
    session_id: uuid.UUID, request: Request, state: State, principal: SignedIn, _form: Submitted
) -> Response:
    """Ends one of the own sessions."""
    await transact(state, origin_of(request), lambda work: sessions.end(work, state, principal, session_id))
    return go(request, "/account")


@router.post("/api_keys")
async def create_api_key(request: Request, state: State, principal: SignedIn, form: Submitted) -> Response:
    """Creates an API key and shows it, once."""
    try:
        wanted = read_form(ApiKeyCreate, name=form.get("name", ""))
        new = await transact(
            state,
            origin_of(request),
            lambda work: api_keys.create(work, state, users.get(work, principal.id), name=wanted.name),
        )
    except NagayaError as error:
        return await _failed(request, state, principal, error)
    return await _page(request, state, principal, new_key=new.value)


@router.post("/api_keys/{key_id}/revoke")
async def revoke_api_key(
    key_id: uuid.UUID, request: Request, state: State, principal: SignedIn, _form: Submitted
) -> Response:
    """Revokes one of the own API keys."""

    def revoke(work: UnitOfWork) -> None:
        owner = users.get(work, principal.id)
        api_keys.revoke(work, state, owner, api_keys.get(work, owner, key_id))

    await transact(state, origin_of(request), revoke)
    return go(request, "/account")
