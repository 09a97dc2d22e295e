"""Writes invitations as the API shows them."""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from nagaya.access.models import RoleAssignment
from nagaya.invitations import repository
from nagaya.invitations.models import Invitation
from nagaya.invitations.schemas import CarriedRole, InvitationRead, InvitingOrganization, Status
from nagaya.organizations.models import Organization
from nagaya.organizations.schemas import TeamReference
from nagaya.tenants.models import Tenant
from nagaya_policy import PREDEFINED_ROLES


def read_invitations(session: Session, invitations: Sequence[Invitation], now: dt.datetime) -> list[InvitationRead]:
    """Returns invitations with what they carry.

    Args:
        session: Database session.
        invitations: The invitations.
        now: Current time.
    """
    ids = [each.id for each in invitations]
    rows = repository.carried_roles(session, ids)
    names = _tenant_names(session, rows)
    roles: dict[uuid.UUID, list[CarriedRole]] = defaultdict(list)
    for row in rows:
        roles[row.principal_id].append(_role(row, names))
    teams: dict[uuid.UUID, list[TeamReference]] = defaultdict(list)
    for seat, team in repository.carried_seats(session, ids):
        teams[seat.principal_id].append(TeamReference(id=team.id, name=team.name))
    places = {each.organization_id for each in invitations}
    organizations = {each.id: each for each in session.scalars(select(Organization).where(Organization.id.in_(places)))}
    return [
        InvitationRead(
            id=each.id,
            created=each.created,
            updated=each.updated,
            organization=InvitingOrganization.model_validate(organizations[each.organization_id]),
            email=each.email,
            status=status_of(each, now),
            expires=each.expires,
            invited_by=each.created_by_name,
            accepted=each.accepted,
            roles=roles[each.id],
            teams=teams[each.id],
        )
        for each in invitations
    ]


def status_of(invitation: Invitation, now: dt.datetime) -> Status:
    """Returns how an invitation stands."""
    if invitation.accepted is not None:
        return "accepted"
    if invitation.revoked is not None:
        return "revoked"
    return "pending" if invitation.expires > now else "expired"


def _tenant_names(session: Session, rows: Sequence[RoleAssignment]) -> dict[uuid.UUID, str]:
    ids = {row.tenant_id for row in rows if row.tenant_id is not None}
    return {row.id: row.name for row in session.execute(select(Tenant.id, Tenant.name).where(Tenant.id.in_(ids)))}


def _role(row: RoleAssignment, names: dict[uuid.UUID, str]) -> CarriedRole:
    role = PREDEFINED_ROLES[row.role]
    return CarriedRole(
        role=role.name,
        label=role.label,
        level=role.level,
        tenant_id=row.tenant_id,
        tenant=None if row.tenant_id is None else names.get(row.tenant_id),
        project_id=row.project_id,
        expires=row.expires,
    )
