"""The caller's own account: `/users/me`."""

import uuid

from fastapi import Request

from nagaya.errors import InvalidInput
from nagaya.http.lists import Paging
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import TransactionRoute, Work, unit_of_work
from nagaya.identity import repository
from nagaya.identity.passwords import check_password
from nagaya.identity.policy import CurrentPrincipal, CurrentUser, InteractiveUser
from nagaya.identity.principal import Principal
from nagaya.identity.schemas import MeRead, MeUpdate, PasswordChange, SessionRead
from nagaya.identity.service import own_password, sessions, users

router = Routes(prefix="/users/me", tags=["me"], route_class=TransactionRoute)


def _read(principal: Principal) -> MeRead:
    return MeRead(
        id=principal.id,
        kind=principal.kind,
        username=principal.username,
        email=principal.email,
        name=principal.name,
        is_superuser=principal.superuser,
        session_id=principal.session_id,
        organization_id=principal.organization_id,
    )


@router.get("")
async def get_me(principal: CurrentPrincipal) -> MeRead:
    """Returns who the caller is."""
    return _read(principal)


@router.patch("")
def update_me(body: MeUpdate, work: Work, state: State, principal: CurrentUser) -> MeRead:
    """Changes the caller's name."""
    user = users.update(work, state, users.get(work, principal.id), {"name": body.name})
    return _read(principal).model_copy(update={"name": user.name or user.username})


@router.put("/password", status_code=204)
async def change_password(body: PasswordChange, request: Request, state: State, principal: InteractiveUser) -> None:
    """Sets a new password and ends all other sessions of the caller."""
    check_password(body.new_password, principal.username, principal.email or "")
    if body.new_password == body.old_password:
        raise InvalidInput("The new password is the old one.", fields={"new_password": "must differ"})
    # Hashing takes tens of milliseconds and must not happen inside a transaction that others wait for.
    hashed = await own_password.verify_and_hash(state, request, principal, body.old_password, body.new_password)
    users.change_password(await unit_of_work(request), state, principal, hashed)


@router.get("/sessions")
def list_sessions(principal: CurrentPrincipal, work: Work, state: State, page: Paging) -> list[SessionRead]:
    """Lists the caller's sessions that have not ended, newest first."""
    rows = page.fetch(work.session, repository.live_sessions(principal.id, state.now()))
    return [
        SessionRead.model_validate(row).model_copy(update={"current": row.id == principal.session_id}) for row in rows
    ]


@router.delete("/sessions/{session_id}", status_code=204)
def end_session(session_id: uuid.UUID, work: Work, state: State, principal: CurrentPrincipal) -> None:
    """Ends one of the caller's sessions, everywhere."""
    sessions.end(work, state, principal, session_id)
