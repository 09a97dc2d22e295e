"""Users, for superusers: `/users`; and the check that ZenML servers make of theirs."""

import uuid
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request

from nagaya.errors import Conflict, Forbidden, responses
from nagaya.http.lists import Paging
from nagaya.http.state import State
from nagaya.http.transactions import TransactionRoute, Work, unit_of_work
from nagaya.identity import repository, setup
from nagaya.identity.models import User
from nagaya.identity.passwords import check_password
from nagaya.identity.policy import CurrentPrincipal, Superuser
from nagaya.identity.schemas import ExternalUser, UserCreate, UserCreated, UserRead, UserUpdate
from nagaya.identity.service import tenant_access, users

router = APIRouter(prefix="/users", tags=["users"], route_class=TransactionRoute)


@router.get("", response_model=list[UserRead], responses=responses(Forbidden))
def list_users(
    _principal: Superuser,
    work: Work,
    page: Paging,
    search: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$")] = None,
    is_active: bool | None = None,
) -> Sequence[User]:
    """Lists users by user name."""
    return page.fetch(work.session, repository.users(search=search, active=is_active))


@router.post("", status_code=201, responses=responses(Conflict, Forbidden))
async def create_user(body: UserCreate, request: Request, state: State, _principal: Superuser) -> UserCreated:
    """Creates a user; without a password the answer carries a link by which the person sets one."""
    hashed = None
    if body.password is not None:
        check_password(body.password, body.username or "", body.email)
        hashed = await state.passwords.hash(body.password)
    work = await unit_of_work(request)
    user = users.create(
        work,
        email=body.email,
        username=body.username,
        name=body.name,
        password_hash=hashed,
        superuser=body.is_superuser,
    )
    link = None if hashed else setup.password_link(work, state, user)
    return UserCreated(**UserRead.model_validate(user).model_dump(), password_link=link)


@router.get("/authorize_server")
def authorize_server(
    work: Work,
    state: State,
    principal: CurrentPrincipal,
    server_id: Annotated[str, Query(max_length=64, pattern=r"^[^\x00]*$")],
) -> ExternalUser:
    """Tells a ZenML server whose token it was shown, if that one may enter it (`ExternalUserModel` of zenml)."""
    tenant_access.require_entry(work.session, state, principal, server_id)
    return ExternalUser(
        id=principal.id,
        username=principal.username,
        # Servers up to zenml 0.84.0 insist on an email, for service accounts too.
        email=principal.email or f"{principal.username}@service-accounts.invalid",
        name=principal.name,
        is_admin=principal.superuser,
        is_superuser=principal.superuser,
        is_service_account=principal.kind == "service_account",
    )


@router.get("/{user_id}", response_model=UserRead, responses=responses(Forbidden))
def get_user(user_id: uuid.UUID, work: Work, _principal: Superuser) -> User:
    """Returns a user."""
    return users.get(work, user_id)


@router.patch("/{user_id}", response_model=UserRead, responses=responses(Conflict, Forbidden))
async def update_user(
    user_id: uuid.UUID, body: UserUpdate, request: Request, state: State, _principal: Superuser
) -> User:
    """Changes a user; deactivation ends all sessions at once, everywhere."""
    changes = body.model_dump(exclude_unset=True, exclude_none=True)
    if password := changes.pop("password", None):
        check_password(password, body.email or "")
        changes["password_hash"] = await state.passwords.hash(password)
    work = await unit_of_work(request)
    return users.update(work, state, users.get(work, user_id), changes)


@router.delete("/{user_id}", status_code=204, responses=responses(Conflict, Forbidden))
def delete_user(user_id: uuid.UUID, work: Work, state: State, principal: Superuser) -> None:
    """Deletes a user; the user name is never given away again."""
    users.delete(work, state, users.get(work, user_id), principal)
