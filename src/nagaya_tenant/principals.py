"""Which ZenML account in this tenant stands for which principal of the platform.

The platform's id (`external_user_id`) is the only link. ZenML itself also adopts an account by its name; a name that is
used a second time would then take over what the first bearer owns, so here the older account is renamed instead.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from sqlalchemy import select
from sqlmodel import SQLModel
from zenml.exceptions import IllegalOperationError
from zenml.models import (
    ServiceAccountInternalRequest,
    ServiceAccountInternalUpdate,
    UserRequest,
    UserUpdate,
)
from zenml.zen_server.utils import zen_store

if TYPE_CHECKING:
    from nagaya_policy.principals import Principal

log = logging.getLogger(__name__)


class Profile(NamedTuple):
    """What the platform says about a principal; an account is written again only when this has changed."""

    kind: str
    username: str
    email: str | None
    name: str
    superuser: bool


class Principals:
    """The mapping, cached in both directions; accounts are never deleted while a tenant is in cloud mode.

    Every method may block for a query and belongs in a worker thread, unless it says otherwise.

    Args:
        system_user: The reserved user that cannot log in.
    """

    def __init__(self, system_user: UUID) -> None:
        self._system_user = system_user
        self._lock = threading.Lock()
        self._accounts: dict[str, tuple[Profile, UUID]] = {}
        self._principals: dict[UUID, str | None] = {}

    def known(self, principal: Principal) -> UUID | None:
        """The account of a principal if nothing needs to be written; never blocks."""
        cached = self._accounts.get(principal.id)
        return cached[1] if cached is not None and cached[0] == _profile(principal) else None

    def ensure(self, principal: Principal) -> UUID:
        """The ZenML account of a principal, made or brought up to date if necessary.

        Args:
            principal: The principal as the policy describes it.

        Returns:
            ZenML's id of the account.
        """
        if (known := self.known(principal)) is not None:
            return known
        profile = _profile(principal)
        with self._lock:
            external = UUID(principal.id)
            account = self._find(external)
            if profile.kind == "service_account":
                account = self._write_service_account(account, external, profile)
            else:
                account = self._write_user(account, external, profile)
            self._accounts[principal.id] = (profile, account)
            self._principals[account] = principal.id
            return account

    def known_principal(self, account: UUID) -> str | None:
        """As `principal_of`, from the cache only; never blocks."""
        return None if account == self._system_user else self._principals.get(account)

    def principal_of(self, account: UUID) -> str | None:
        """The platform's id of the principal behind a ZenML account.

        Returns:
            The id; `None` for accounts of the tenant itself: they can do nothing.
        """
        if account == self._system_user:
            return None
        try:
            return self._principals[account]
        except KeyError:
            pass
        columns = SQLModel.metadata.tables["user"].c
        with zen_store().engine.connect() as connection:
            found = connection.execute(select(columns.external_user_id).where(columns.id == account)).first()
        if found is None:
            return None
        principal = None if found[0] is None else str(found[0])
        self._principals[account] = principal
        return principal

    def _find(self, external: UUID) -> UUID | None:
        columns = SQLModel.metadata.tables["user"].c
        with zen_store().engine.connect() as connection:
            found = connection.execute(select(columns.id).where(columns.external_user_id == external)).first()
        return None if found is None else found[0]

    def _write_user(self, account: UUID | None, external: UUID, profile: Profile) -> UUID:
        self._free_name(profile.username, account, service_account=False)
        fields: dict[str, Any] = {
            "name": profile.username,
            "full_name": profile.name,
            "email_opted_in": True,
            "active": True,
            "email": profile.email,
            "is_admin": profile.superuser,
            "external_user_id": external,
        }
        if account is None:
            return _id(zen_store().create_user(UserRequest(**fields)))
        try:
            return _id(zen_store().update_user(account, UserUpdate(**fields)))
        except IllegalOperationError:
            # ZenML keeps at least one account with this flag. It decides nothing while roles are enforced.
            return _id(zen_store().update_user(account, UserUpdate(**{**fields, "is_admin": True})))

    def _write_service_account(self, account: UUID | None, external: UUID, profile: Profile) -> UUID:
        self._free_name(profile.username, account, service_account=True)
        fields: dict[str, Any] = {
            "name": profile.username,
            "full_name": profile.name,
            "active": True,
            "external_user_id": external,
        }
        if account is None:
            return _id(zen_store().create_service_account(ServiceAccountInternalRequest(**fields)))
        return _id(zen_store().update_service_account(account, ServiceAccountInternalUpdate(**fields)))

    def _free_name(self, name: str, account: UUID | None, *, service_account: bool) -> None:
        columns = SQLModel.metadata.tables["user"].c
        query = select(columns.id).where(columns.name == name, columns.is_service_account == service_account)
        with zen_store().engine.connect() as connection:
            found = connection.execute(query).first()
        if found is None or found[0] == account:
            return
        former = f"{name}-{found[0].hex[:8]}"
        log.warning("The name %s belongs to another principal now; its former account is renamed to %s.", name, former)
        if service_account:
            zen_store().update_service_account(found[0], ServiceAccountInternalUpdate(name=former))
        else:
            zen_store().update_user(found[0], UserUpdate(name=former))


def _profile(principal: Principal) -> Profile:
    return Profile(principal.kind, principal.username, principal.email, principal.name, principal.superuser)


def _id(account: Any) -> UUID:
    value: UUID = account.id
    return value
