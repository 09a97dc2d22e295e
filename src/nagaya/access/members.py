"""Writes members of organizations and tenants as the API shows them."""

import datetime as dt
import uuid
from collections.abc import Sequence

from sqlalchemy.orm import Session

from nagaya.access import repository
from nagaya.access.models import RoleAssignment
from nagaya.access.repository import Account
from nagaya.organizations.schemas import MemberRead, RoleHeld, TeamReference
from nagaya.teams.models import Team
from nagaya_policy import PREDEFINED_ROLES, implied_tenant_role


def read_members(
    session: Session,
    accounts: Sequence[Account],
    organization_id: uuid.UUID,
    now: dt.datetime,
    *,
    tenant_id: uuid.UUID | None = None,
) -> list[MemberRead]:
    """Returns members with the roles that they hold at a place.

    Those of their teams, and in a tenant those that organization roles imply, are included.

    Args:
        session: Database session.
        accounts: Who.
        organization_id: The organization.
        now: Current time.
        tenant_id: The tenant, if the place is one.
    """
    ids = [each.id for each in accounts]
    own = repository.assignments(session, organization_id, ids, now, tenant_id=tenant_id)
    in_teams = repository.teams_with_roles(session, organization_id, ids, now, tenant_id=tenant_id)
    members = []
    for account in accounts:
        direct = [role for row in own.get(account.id, ()) if (role := held(row, tenant_id)) is not None]
        through = [
            role for team, row in in_teams.get(account.id, ()) if (role := held(row, tenant_id, team)) is not None
        ]
        members.append(
            MemberRead(
                id=account.id,
                kind=account.kind,
                username=account.username,
                email=account.email,
                name=account.name,
                is_active=account.is_active,
                via_team=bool(through) and not direct,
                roles=[*direct, *through],
            )
        )
    return members


def held(row: RoleAssignment, tenant_id: uuid.UUID | None, team: Team | None = None) -> RoleHeld | None:
    """Returns a role as it counts at a place; None if it means nothing there.

    Args:
        row: The assignment.
        tenant_id: The tenant, if the place is one.
        team: The team that holds it, if it is not somebody's own.
    """
    name, via = row.role, "direct"
    if tenant_id is not None and row.level == "organization":
        implied = implied_tenant_role(row.role)
        if implied is None:
            return None
        name, via = implied, f"organization role {row.role}"
    role = PREDEFINED_ROLES[name]
    return RoleHeld(
        role=name,
        label=role.label,
        level=role.level,
        project_id=row.project_id,
        expires=row.expires,
        via=via if team is None else f"team {team.name}",
        team=None if team is None else TeamReference(id=team.id, name=team.name),
    )
