"""The caller's own API keys: `/users/me/api_keys`."""

import uuid
from collections.abc import Sequence

from fastapi import Response

from nagaya.errors import Conflict, responses
from nagaya.http.lists import Paging
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import TransactionRoute, Work
from nagaya.identity import repository
from nagaya.identity.endpoints.key_answers import created, expiry
from nagaya.identity.models import ApiKey
from nagaya.identity.policy import CurrentUser, MintingUser
from nagaya.identity.schemas import ApiKeyCreate, ApiKeyCreated, ApiKeyRead, ApiKeyRotate, ApiKeyUpdate
from nagaya.identity.service import api_keys, users

router = Routes(prefix="/users/me/api_keys", tags=["me"], route_class=TransactionRoute)


@router.get("", response_model=list[ApiKeyRead])
def list_my_api_keys(principal: CurrentUser, work: Work, page: Paging) -> Sequence[ApiKey]:
    """Lists the caller's keys, newest first."""
    return page.fetch(work.session, repository.api_keys(principal.id))


@router.post("", status_code=201, responses=responses(Conflict))
def create_my_api_key(
    body: ApiKeyCreate, response: Response, work: Work, state: State, principal: MintingUser
) -> ApiKeyCreated:
    """Creates a key; the answer is the only one that holds its value."""
    owner = users.get(work, principal.id)
    new = api_keys.create(
        work, state, owner, name=body.name, description=body.description, expires=expiry(body, state.now())
    )
    return created(response, new)


@router.get("/{key_id}", response_model=ApiKeyRead)
def get_my_api_key(key_id: uuid.UUID, work: Work, principal: CurrentUser) -> ApiKey:
    """Returns one of the caller's keys."""
    return api_keys.get(work, users.get(work, principal.id), key_id)


@router.patch("/{key_id}", response_model=ApiKeyRead, responses=responses(Conflict))
def update_my_api_key(
    key_id: uuid.UUID, body: ApiKeyUpdate, work: Work, state: State, principal: MintingUser
) -> ApiKey:
    """Renames, describes, activates or deactivates a key."""
    owner = users.get(work, principal.id)
    changes = body.model_dump(exclude_unset=True, exclude_none=True)
    return api_keys.update(work, state, owner, api_keys.get(work, owner, key_id), changes)


@router.post("/{key_id}/rotate", status_code=201, responses=responses(Conflict))
def rotate_my_api_key(
    key_id: uuid.UUID, body: ApiKeyRotate, response: Response, work: Work, state: State, principal: MintingUser
) -> ApiKeyCreated:
    """Replaces a key by a new one; the old value works on for the period that is asked for."""
    owner = users.get(work, principal.id)
    key = api_keys.get(work, owner, key_id)
    return created(response, api_keys.rotate(work, state, owner, key, retain_minutes=body.retain_period_minutes))


@router.delete("/{key_id}", status_code=204)
def revoke_my_api_key(key_id: uuid.UUID, work: Work, state: State, principal: CurrentUser) -> None:
    """Revokes a key for ever and ends the sessions that came out of it."""
    owner = users.get(work, principal.id)
    api_keys.revoke(work, state, owner, api_keys.get(work, owner, key_id))
