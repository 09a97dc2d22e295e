"""Writes members of organizations and tenants as the API shows them."""

import datetime as dt
import uuid
from collections.abc import Sequence

from sqlalchemy.orm import Session

from nagaya.access import repository
from nagaya.access.models import RoleAssignment
from nagaya.access.repository import Account
from nagaya.organizations.schemas import MemberRead, RoleHeld
from nagaya_policy import PREDEFINED_ROLES, implied_tenant_role


def read_members(
    session: Session,
    accounts: Sequence[Account],
    organization_id: uuid.UUID,
    now: dt.datetime,
    *,
    tenant_id: uuid.UUID | None = None,
) -> list[MemberRead]:
    """Returns members with the roles that they hold at a place, those that organization roles imply included.

    Args:
        session: Database session.
        accounts: Who.
        organization_id: The organization.
        now: Current time.
        tenant_id: The tenant, if the place is one.
    """
    found = repository.assignments(session, organization_id, [each.id for each in accounts], now, tenant_id=tenant_id)
    return [
        MemberRead(
            id=account.id,
            kind=account.kind,
            username=account.username,
            email=account.email,
            name=account.name,
            is_active=account.is_active,
            roles=[held for row in found.get(account.id, ()) if (held := _held(row, tenant_id)) is not None],
        )
        for account in accounts
    ]


def _held(row: RoleAssignment, tenant_id: uuid.UUID | None) -> RoleHeld | None:
    name, via = row.role, "direct"
    if tenant_id is not None and row.level == "organization":
        implied = implied_tenant_role(row.role)
        if implied is None:
            return None
        name, via = implied, f"organization role {row.role}"
    role = PREDEFINED_ROLES[name]
    return RoleHeld(
        role=name, label=role.label, level=role.level, project_id=row.project_id, expires=row.expires, via=via
    )
