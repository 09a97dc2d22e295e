"""Who may hand over all that a service account, a team or an invitation holds: whoever could give each part of it."""

import uuid
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from nagaya.access.models import RoleAssignment, Share
from nagaya.access.reach import in_force, teams_of
from nagaya.access.roles import ORGANIZATION_ADMIN, TENANT_ADMIN
from nagaya.access.standing import Standing, standing_of
from nagaya.errors import Forbidden
from nagaya.identity.models import ServiceAccount
from nagaya.teams.models import Team
from nagaya_policy import PREDEFINED_ROLES


def require_key(session: Session, standing: Standing, account: ServiceAccount) -> None:
    """Refuses a key of a service account to those to whom it would give more than their own roles.

    Args:
        session: Database session.
        standing: What the caller holds in the account's organization.
        account: The service account.

    Raises:
        Forbidden: The account, or a team of it, holds more than the caller could give.
    """
    holders = [account.id, *session.scalars(teams_of(account.id))]
    sentence = f"A key of {account.username} would give you more than you have."
    _require(session, standing, account.organization_id, holders, sentence)


def require_team(session: Session, standing: Standing, team: Team) -> None:
    """Refuses to put somebody into a team, or to take somebody out, to those who could not give all that it holds.

    Args:
        session: Database session.
        standing: What the caller holds in the team's organization.
        team: The team.

    Raises:
        Forbidden: The team holds more than the caller could give.
    """
    sentence = f"The team {team.name} has more than you may give."
    _require(session, standing, team.organization_id, [team.id], sentence)


def _require(
    session: Session,
    standing: Standing,
    organization_id: uuid.UUID,
    holders: Collection[uuid.UUID],
    sentence: str,
) -> None:
    """Demands that each role could be given, and that tenants where something is shared are administered."""
    everything = any(grant.role.name == ORGANIZATION_ADMIN for grant in standing.organization_grants)
    if standing.principal.superuser or everything:
        return
    held = session.scalars(
        select(RoleAssignment).where(
            RoleAssignment.principal_id.in_(holders),
            RoleAssignment.organization_id == organization_id,
            in_force(standing.now),
        )
    ).all()
    shared = session.scalars(select(Share.tenant_id).where(Share.principal_id.in_(holders)).distinct()).all()
    places = {
        tenant_id: standing_of(session, standing.principal, organization_id, tenant_id, standing.now)
        for tenant_id in {row.tenant_id for row in held if row.tenant_id is not None} | set(shared)
    }
    for row in held:
        place = standing if row.tenant_id is None else places[row.tenant_id]
        try:
            place.require_assignment(PREDEFINED_ROLES[row.role], row.project_id)
        except Forbidden as error:
            raise Forbidden(f"{sentence} {error.detail}") from error
    for tenant_id in shared:
        if not any(grant.role.name == TENANT_ADMIN for grant in places[tenant_id].tenant_grants):
            raise Forbidden(f"{sentence} Resources of a tenant are shared there, which takes its administrator.")
