"""Service accounts and their API keys: `/organizations/{organization}/service_accounts`."""

import uuid
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Response

from nagaya.access.handover import require_key
from nagaya.access.places import wanted_roles
from nagaya.access.policy import OrganizationAccess, organization_dependency
from nagaya.access.service import add, find_account
from nagaya.errors import Conflict, Forbidden, responses
from nagaya.http.lists import Paging
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import TransactionRoute, Work
from nagaya.identity import repository
from nagaya.identity.endpoints.key_answers import created, expiry
from nagaya.identity.models import ApiKey, ServiceAccount
from nagaya.identity.policy import current_minter
from nagaya.identity.schemas import (
    ApiKeyCreate,
    ApiKeyCreated,
    ApiKeyRead,
    ApiKeyRotate,
    ApiKeyUpdate,
    ServiceAccountCreate,
    ServiceAccountRead,
    ServiceAccountUpdate,
)
from nagaya.identity.service import api_keys, service_accounts

router = Routes(
    prefix="/organizations/{organization}/service_accounts",
    tags=["service accounts"],
    route_class=TransactionRoute,
    responses=responses(Forbidden),
)
Reader = Annotated[OrganizationAccess, Depends(organization_dependency("service_account:read"))]
Creator = Annotated[OrganizationAccess, Depends(organization_dependency("service_account:create"))]
Editor = Annotated[OrganizationAccess, Depends(organization_dependency("service_account:update"))]
Remover = Annotated[OrganizationAccess, Depends(organization_dependency("service_account:delete"))]
Minter = Depends(current_minter)


@router.get("", response_model=list[ServiceAccountRead])
def list_service_accounts(access: Reader, work: Work, page: Paging) -> Sequence[ServiceAccount]:
    """Lists the service accounts of an organization."""
    return page.fetch(work.session, repository.service_accounts(access.id))


@router.post("", status_code=201, response_model=ServiceAccountRead, responses=responses(Conflict))
def create_service_account(body: ServiceAccountCreate, work: Work, access: Creator) -> ServiceAccount:
    """Creates a service account and gives it organization roles, of which the caller must be allowed to give each."""
    account = service_accounts.create(work, access.id, username=body.name, description=body.description)
    if body.roles:
        access.standing.require("member:create")
        place = access.place(work)
        add(place, find_account(place, str(account.id)), wanted_roles(body.roles), None)
        work.session.flush()
    return account


@router.get("/{account_id}", response_model=ServiceAccountRead)
def get_service_account(account_id: uuid.UUID, work: Work, access: Reader) -> ServiceAccount:
    """Returns a service account."""
    return service_accounts.get(work, access.id, account_id)


@router.patch("/{account_id}", response_model=ServiceAccountRead)
def update_service_account(
    account_id: uuid.UUID, body: ServiceAccountUpdate, work: Work, state: State, access: Editor
) -> ServiceAccount:
    """Describes, activates or deactivates a service account."""
    account = service_accounts.get(work, access.id, account_id)
    return service_accounts.update(work, state, account, body.model_dump(exclude_unset=True, exclude_none=True))


@router.delete("/{account_id}", status_code=204)
def delete_service_account(account_id: uuid.UUID, work: Work, state: State, access: Remover) -> None:
    """Deletes a service account with all its keys and sessions."""
    service_accounts.delete(work, state, service_accounts.get(work, access.id, account_id))


@router.get("/{account_id}/api_keys", response_model=list[ApiKeyRead])
def list_api_keys(access: Reader, account_id: uuid.UUID, work: Work, page: Paging) -> Sequence[ApiKey]:
    """Lists the keys of a service account, newest first."""
    account = service_accounts.get(work, access.id, account_id)
    return page.fetch(work.session, repository.api_keys(account.id))


@router.post("/{account_id}/api_keys", status_code=201, responses=responses(Conflict), dependencies=[Minter])
def create_api_key(
    account_id: uuid.UUID, body: ApiKeyCreate, response: Response, work: Work, state: State, access: Creator
) -> ApiKeyCreated:
    """Creates a key; the answer is the only one that holds its value.

    Whoever creates it must be allowed to give every role that the account holds.
    """
    account = service_accounts.get(work, access.id, account_id)
    require_key(work.session, access.standing, account)
    new = api_keys.create(
        work, state, account, name=body.name, description=body.description, expires=expiry(body, state.now())
    )
    return created(response, new)


@router.get("/{account_id}/api_keys/{key_id}", response_model=ApiKeyRead)
def get_api_key(account_id: uuid.UUID, key_id: uuid.UUID, work: Work, access: Reader) -> ApiKey:
    """Returns a key of a service account."""
    return api_keys.get(work, service_accounts.get(work, access.id, account_id), key_id)


@router.patch("/{account_id}/api_keys/{key_id}", response_model=ApiKeyRead, responses=responses(Conflict))
def update_api_key(
    account_id: uuid.UUID, key_id: uuid.UUID, body: ApiKeyUpdate, work: Work, state: State, access: Editor
) -> ApiKey:
    """Renames, describes, activates or deactivates a key."""
    account = service_accounts.get(work, access.id, account_id)
    changes = body.model_dump(exclude_unset=True, exclude_none=True)
    if changes.get("is_active"):
        require_key(work.session, access.standing, account)
    return api_keys.update(work, state, account, api_keys.get(work, account, key_id), changes)


@router.post(
    "/{account_id}/api_keys/{key_id}/rotate", status_code=201, responses=responses(Conflict), dependencies=[Minter]
)
def rotate_api_key(
    account_id: uuid.UUID,
    key_id: uuid.UUID,
    body: ApiKeyRotate,
    response: Response,
    work: Work,
    state: State,
    access: Editor,
) -> ApiKeyCreated:
    """Replaces a key by a new one; the old value works on for the period that is asked for."""
    account = service_accounts.get(work, access.id, account_id)
    require_key(work.session, access.standing, account)
    key = api_keys.get(work, account, key_id)
    return created(response, api_keys.rotate(work, state, account, key, retain_minutes=body.retain_period_minutes))


@router.delete("/{account_id}/api_keys/{key_id}", status_code=204)
def revoke_api_key(account_id: uuid.UUID, key_id: uuid.UUID, work: Work, state: State, access: Remover) -> None:
    """Revokes a key for ever and ends the sessions that came out of it."""
    account = service_accounts.get(work, access.id, account_id)
    api_keys.revoke(work, state, account, api_keys.get(work, account, key_id))
