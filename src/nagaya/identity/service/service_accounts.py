"""The rules of service accounts: machines that act in one organization."""

import uuid
from typing import Any

from nagaya import audit
from nagaya.access.changes import principal_changed
from nagaya.errors import Conflict, NotFound
from nagaya.http.state import AppState
from nagaya.http.transactions import UnitOfWork
from nagaya.identity import repository
from nagaya.identity.models import ServiceAccount
from nagaya.identity.service import sessions
from nagaya.identity.service.users import require_allowed


def get(work: UnitOfWork, organization_id: uuid.UUID, account_id: uuid.UUID) -> ServiceAccount:
    """Returns a service account of an organization.

    Raises:
        NotFound: There is none with this id.
    """
    account = repository.service_account(work.session, account_id)
    if account is None or account.organization_id != organization_id:
        raise NotFound("There is no such service account in this organization.")
    return account


def create(work: UnitOfWork, organization_id: uuid.UUID, *, username: str, description: str) -> ServiceAccount:
    """Creates a service account.

    Args:
        work: The unit of work.
        organization_id: Its organization.
        username: Unique over the whole platform, users included, and never given away again.
        description: What it is for.

    Raises:
        Conflict: The name is taken or reserved.
    """
    require_allowed(username, "name")
    if repository.name_taken(work.session, username):
        raise Conflict("This name belongs, or belonged, to somebody.", fields={"name": "is taken"})
    account = ServiceAccount(
        id=uuid.uuid4(),
        organization_id=organization_id,
        username=username,
        description=description,
        is_active=True,
        valid_after=0,
    )
    work.session.add(account)
    work.session.flush()
    _record(work, "service_account.create", account)
    return account


def update(work: UnitOfWork, state: AppState, account: ServiceAccount, changes: dict[str, Any]) -> ServiceAccount:
    """Describes, activates or deactivates a service account.

    Args:
        work: The unit of work.
        state: The application's state.
        account: The service account.
        changes: New values of `description` and `is_active`.
    """
    locked_out = changes.get("is_active") is False and account.is_active
    for field, value in changes.items():
        setattr(account, field, value)
    if locked_out:
        _shut_out(work, state, account)
    _record(work, "service_account.update", account, {"fields": sorted(changes)})
    work.session.flush()
    principal_changed(work, account.id)
    return account


def delete(work: UnitOfWork, state: AppState, account: ServiceAccount) -> None:
    """Deletes a service account with its keys; the row stays, so that the name is never given away again.

    Args:
        work: The unit of work.
        state: The application's state.
        account: The service account.
    """
    account.is_active = False
    account.deleted = state.now()
    for key in work.session.scalars(repository.api_keys(account.id)):
        key.revoked = key.revoked or state.now()
    _shut_out(work, state, account)
    _record(work, "service_account.delete", account)
    work.session.flush()
    principal_changed(work, account.id)


def _shut_out(work: UnitOfWork, state: AppState, account: ServiceAccount) -> None:
    account.valid_after = int(state.now().timestamp()) + 1
    sessions.end_all(work, state, account.id)


def _record(work: UnitOfWork, action: str, account: ServiceAccount, details: dict[str, Any] | None = None) -> None:
    target = audit.Target("service_account", account.id, account.username)
    audit.record(work, action, target, organization_id=account.organization_id, details=details)
