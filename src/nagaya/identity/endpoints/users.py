"""Users, for superusers: `/users`; and the check that ZenML servers make of theirs."""

import uuid
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from nagaya.errors import Conflict, Forbidden, InvalidInput, responses
from nagaya.http.lists import Paging, Search
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import TransactionRoute, Work, unit_of_work
from nagaya.identity import repository, setup
from nagaya.identity.models import User
from nagaya.identity.passwords import check_password
from nagaya.identity.policy import CurrentPrincipal, Superuser
from nagaya.identity.schemas import ExternalUser, UserCreate, UserCreated, UserRead, UserUpdate
from nagaya.identity.service import tenant_access, users

NO_ADDRESS = "users.invalid"
"""Domain of the addresses of users who were made without one: no mail can ever be sent there (RFC 2606)."""

router = Routes(prefix="/users", tags=["users"], route_class=TransactionRoute)


async def wanted_user(
    *,
    _principal: Superuser,
    body: UserCreate | None = None,
    username: Annotated[str | None, Query(max_length=64, description="Instead of the body.")] = None,
    email: Annotated[str | None, Query(max_length=254, description="Instead of the body.")] = None,
    password: Annotated[
        str | None, Query(max_length=256, description="Better in the body: queries are logged.")
    ] = None,
    is_superuser: Annotated[bool | None, Query(description="Instead of the body.")] = None,
) -> UserCreate:
    """Returns what is wanted of a new user, from the body or from the query.

    Raises:
        InvalidInput: Both or neither were sent, or a value is not acceptable.
    """
    query = {"username": username, "email": email, "password": password, "is_superuser": is_superuser}
    given = {name: value for name, value in query.items() if value is not None}
    if body is not None and given:
        raise InvalidInput("Send the new user in the body or in the query, not in both.")
    if body is not None:
        return body
    try:
        return UserCreate.model_validate(given)
    except ValidationError as error:
        # Without what was sent: a password may be among it.
        problems = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**each, "loc": ("query", *each["loc"])} for each in problems]) from None


@router.get("", response_model=list[UserRead], responses=responses(Forbidden))
def list_users(
    _principal: Superuser,
    work: Work,
    page: Paging,
    search: Annotated[str | None, Query(max_length=200, pattern=r"^[^\x00]*$", description="The same as `q`.")] = None,
    q: Search = None,
    is_active: bool | None = None,
) -> Sequence[User]:
    """Lists users by user name."""
    return page.fetch(work.session, repository.users(search=search if q is None else q, active=is_active))


@router.post("", status_code=201, responses=responses(Conflict, Forbidden))
async def create_user(
    wanted: Annotated[UserCreate, Depends(wanted_user)], request: Request, state: State, _principal: Superuser
) -> UserCreated:
    """Creates a user; without a password the answer carries a link by which the person sets one.

    The values are taken from the body or, as ZenML's own scripts send them, from the query.
    """
    hashed = None
    email = wanted.email or f"{wanted.username}@{NO_ADDRESS}"
    if wanted.password is not None:
        check_password(wanted.password, wanted.username or "", email)
        hashed = await state.passwords.hash(wanted.password)
    work = await unit_of_work(request)
    user = users.create(
        work,
        email=email,
        username=wanted.username,
        name=wanted.name,
        password_hash=hashed,
        superuser=wanted.is_superuser,
    )
    link = None if hashed else setup.password_link(work, state, user)
    return UserCreated(**UserRead.model_validate(user).model_dump(), password_link=link)


@router.get("/authorize_server", responses=responses(Forbidden))
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


@router.get("/{id_or_email}", response_model=UserRead, responses=responses(Forbidden))
def get_user(
    id_or_email: Annotated[str, Path(max_length=254, description="Id, e-mail address or user name.")],
    work: Work,
    _principal: Superuser,
) -> User:
    """Returns a user."""
    return users.find(work, id_or_email)


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
