"""The one place that expands which organizations and tenants a principal may touch; repositories take its types."""

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import NewType

from sqlalchemy import ColumnElement, CompoundSelect, Select, Uuid, and_, literal, or_, select, true, union_all

from nagaya.access.models import RoleAssignment, Share
from nagaya.access.roles import ROLES_ENTERING_TENANTS, ROLES_SEEING_TENANTS
from nagaya.identity.principal import Principal
from nagaya.organizations.models import Organization
from nagaya.teams.models import TeamMember
from nagaya.tenants.models import Tenant

AccessibleOrganizationId = NewType("AccessibleOrganizationId", uuid.UUID)
"""Id of an organization that the caller was found to be allowed to know of."""
AccessibleTenantId = NewType("AccessibleTenantId", uuid.UUID)
"""Id of a tenant that the caller was found to be allowed to know of."""


@dataclass(frozen=True, slots=True)
class OrganizationReach:
    """A condition on `organizations` that only this module makes."""

    clause: ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class TenantReach:
    """A condition on `tenants` joined with `organizations` that only this module makes."""

    clause: ColumnElement[bool]


def in_force(now: dt.datetime) -> ColumnElement[bool]:
    """Returns the condition that a role assignment has not expired."""
    return or_(RoleAssignment.expires.is_(None), RoleAssignment.expires > now)


def teams_of(principal_id: uuid.UUID) -> Select[uuid.UUID]:
    """Returns the SELECT of the ids of all teams that a principal is in."""
    return select(TeamMember.team_id).where(TeamMember.principal_id == principal_id)


def _self_and_teams(principal_id: uuid.UUID) -> CompoundSelect[uuid.UUID]:
    """Returns the SELECT of a principal's own id and its teams'; as one set, because indexes help little with OR."""
    return union_all(select(literal(principal_id, Uuid)), teams_of(principal_id))


def held_by(principal_id: uuid.UUID) -> ColumnElement[bool]:
    """Returns the condition that a role assignment is the principal's own or that of one of its teams."""
    return RoleAssignment.principal_id.in_(_self_and_teams(principal_id))


def shared_with(principal_id: uuid.UUID) -> ColumnElement[bool]:
    """Returns the condition that a share is with the principal or with one of its teams."""
    return Share.principal_id.in_(_self_and_teams(principal_id))


def organizations_of(principal: Principal, now: dt.datetime) -> OrganizationReach:
    """Returns which organizations a principal may know of: all for superusers, else those with a membership.

    Roles of teams make nobody a member: whoever is in a team is a member already, and stops counting when that ends.

    Args:
        principal: Who asks.
        now: Current time; expired roles do not count.
    """
    alive = Organization.deleted.is_(None)
    if principal.superuser:
        return OrganizationReach(alive)
    memberships = select(RoleAssignment.organization_id).where(
        RoleAssignment.principal_id == principal.id, RoleAssignment.level == "organization", in_force(now)
    )
    return OrganizationReach(and_(alive, Organization.id.in_(memberships)))


def tenants_of(principal: Principal, now: dt.datetime, *, member_only: bool = False) -> TenantReach:
    """Returns which tenants a principal may know of.

    Args:
        principal: Who asks.
        now: Current time; expired roles do not count.
        member_only: Leave out tenants that the principal may see in lists but not enter.
    """
    organizations = organizations_of(principal, now).clause
    alive = Tenant.purged.is_(None)
    if principal.superuser:
        return TenantReach(and_(organizations, alive))
    roles = ROLES_ENTERING_TENANTS if member_only else ROLES_SEEING_TENANTS
    mine = and_(held_by(principal.id), in_force(now))
    whole = select(RoleAssignment.organization_id).where(
        mine, RoleAssignment.level == "organization", RoleAssignment.role.in_(roles)
    )
    single = select(RoleAssignment.tenant_id).where(mine, RoleAssignment.tenant_id.is_not(None))
    shared = select(Share.tenant_id).where(shared_with(principal.id))
    reached = or_(Tenant.organization_id.in_(whole), Tenant.id.in_(single), Tenant.id.in_(shared))
    return TenantReach(and_(organizations, alive, reached))


def every_tenant() -> TenantReach:
    """Returns the reach of the platform itself, for its own background work only."""
    return TenantReach(true())
