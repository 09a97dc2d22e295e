"""What one principal holds in an organization or tenant, and the control plane's decisions that follow from it."""

import datetime as dt
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from nagaya.access.models import RoleAssignment, Share
from nagaya.access.reach import held_by, in_force, shared_with
from nagaya.access.roles import TENANT_ADMIN, TENANT_VISITOR
from nagaya.errors import Forbidden
from nagaya.identity.principal import Principal
from nagaya.teams.models import Team
from nagaya_policy import (
    PREDEFINED_ROLES,
    Decision,
    Grant,
    Role,
    check_assignment,
    check_organization,
    implied_tenant_role,
)

SUPERUSER = Decision(True, "allowed: superuser")
ADMINISTRATOR_PERMISSIONS = frozenset({"tenant:read", "tenant:update", "tenant:operate", "member:read", "role:assign"})
"""What a tenant's own administrators may do with it in the control plane. Deleting stays with the organization."""
MEMBER_PERMISSIONS = frozenset({"tenant:read", "member:read"})


@dataclass(frozen=True, slots=True)
class Standing:
    """Roles of a principal, own ones and those of its teams, unexpired ones only.

    Args:
        principal: Who.
        organization_grants: Roles in the organization.
        tenant_grants: Roles in the tenant in question, those that organization roles imply included.
        shared: Whether something in the tenant is shared with the principal.
        now: When this was read.
    """

    principal: Principal
    organization_grants: tuple[Grant, ...]
    tenant_grants: tuple[Grant, ...]
    shared: bool
    now: dt.datetime

    def check(self, permission: str) -> Decision:
        """Decides on an organization permission."""
        if self.principal.superuser:
            return SUPERUSER
        return check_organization(self.organization_grants, permission, self.now.timestamp())

    def check_tenant(self, permission: str) -> Decision:
        """Decides on an organization permission where it concerns the tenant: its own members may some of them."""
        decision = self.check(permission)
        if decision.allowed:
            return decision
        for grant in self.tenant_grants:
            if permission in _permissions_by_membership(grant):
                return Decision(True, f"allowed: {grant.title}")
        if permission == "tenant:read" and (self.shared or self.tenant_grants):
            return Decision(True, "allowed: a visitor, or something in this tenant is shared with you")
        labels = ", ".join(dict.fromkeys(grant.role.label for grant in self.tenant_grants))
        if labels and permission in ADMINISTRATOR_PERMISSIONS:
            return Decision(False, f"{decision.reason}, and your roles in the tenant ({labels}) do not either")
        return decision

    def require(self, permission: str) -> None:
        """Raises Forbidden with the reason unless the organization permission is held."""
        _require(self.check(permission))

    def require_tenant(self, permission: str) -> None:
        """Raises Forbidden with the reason unless the permission is held as far as the tenant is concerned."""
        _require(self.check_tenant(permission))

    def require_members(self) -> None:
        """Raises Forbidden unless some roles in the tenant can be given by the principal; which, is asked for each."""
        if not any(grant.role.full for grant in self.tenant_grants):
            self.require_tenant("role:assign")

    def require_assignment(self, role: Role, project_id: uuid.UUID | None = None) -> None:
        """Raises Forbidden unless the principal may give or take `role`: never more than one has oneself.

        Args:
            role: The role.
            project_id: Its project, for a project role.
        """
        if not self.principal.superuser:
            _require(self._assignment(role, project_id))

    def _assignment(self, role: Role, project_id: uuid.UUID | None) -> Decision:
        if role.level == "organization":
            return check_assignment(self.organization_grants, role, self.now.timestamp())
        project = None if project_id is None else str(project_id)
        here = [grant for grant in self.tenant_grants if grant.project in {None, project}]
        if not (self.check_tenant("role:assign").allowed or any(grant.role.full for grant in here)):
            return Decision(False, "denied: giving and taking roles here takes an administrator of the tenant")
        if any(grant.role.name == TENANT_ADMIN for grant in here):
            return Decision(True, f"allowed: role {PREDEFINED_ROLES[TENANT_ADMIN].label}")
        held = frozenset(permission for grant in here for permission in grant.role.permissions)
        lacking = sorted(role.permissions - held)
        if lacking or (role.full and not any(grant.role.full for grant in here)):
            shown = ", ".join(lacking[:5]) + (" and more" if len(lacking) > 5 else "")
            return Decision(False, f"denied: {role.label} permits more than your own roles here do: {shown}")
        return Decision(True, "allowed: within your own roles")


def standing_of(
    session: Session,
    principal: Principal,
    organization_id: uuid.UUID,
    tenant_id: uuid.UUID | None,
    now: dt.datetime,
) -> Standing:
    """Reads what a principal holds.

    Args:
        session: Database session.
        principal: Who.
        organization_id: The organization.
        tenant_id: One of its tenants, if the question is about one.
        now: Current time.
    """
    rows = _held(session, principal.id, organization_id, tenant_id, now)
    if not any(row.team is None and row.level == "organization" for row in rows):
        # Whoever is no member, or is one no more, holds nothing: neither in a tenant nor through a team.
        return Standing(principal, (), (), shared=False, now=now)
    organization = [row.grant for row in rows if row.level == "organization"]
    tenant: list[Grant] = []
    shared = False
    if tenant_id is not None:
        tenant.extend(_implied(row) for row in rows if row.level == "organization" and implied_tenant_role(row.role))
        tenant.extend(row.grant for row in rows if row.level != "organization")
        condition = and_(Share.tenant_id == tenant_id, shared_with(principal.id))
        shared = session.scalar(select(Share.id).where(condition).limit(1)) is not None
    return Standing(principal, tuple(organization), tuple(tenant), shared, now)


def organization_roles(
    session: Session, principal_id: uuid.UUID, organization_ids: Collection[uuid.UUID], now: dt.datetime
) -> dict[uuid.UUID, list[str]]:
    """Returns the names of the organization roles of a principal, as `standing_of` gives them, for many organizations.

    Args:
        session: Database session.
        principal_id: Of whom.
        organization_ids: Where; organizations in which nothing counts are left out.
        now: Current time.
    """
    statement = (
        select(RoleAssignment.organization_id, RoleAssignment.role, Team.name)
        .outerjoin(Team, Team.id == RoleAssignment.principal_id)
        .where(
            held_by(principal_id),
            RoleAssignment.organization_id.in_(organization_ids),
            RoleAssignment.level == "organization",
            in_force(now),
        )
        .order_by(RoleAssignment.created, RoleAssignment.id)
    )
    rows = sorted(session.execute(statement), key=lambda row: row[2] or "")
    members = {row[0] for row in rows if row[2] is None}
    found: dict[uuid.UUID, list[str]] = {}
    for organization_id, role, _team in rows:
        if organization_id in members:
            found.setdefault(organization_id, []).append(role)
    return found


class _Row(NamedTuple):
    """A role that counts for a principal; `team` is the name of the team that holds it, if one does."""

    role: str
    level: str
    project_id: uuid.UUID | None
    expires: dt.datetime | None
    team: str | None

    @property
    def grant(self) -> Grant:
        return Grant(
            PREDEFINED_ROLES[self.role],
            "direct" if self.team is None else f"team {self.team}",
            project=None if self.project_id is None else str(self.project_id),
            expires=None if self.expires is None else self.expires.timestamp(),
        )


def _held(
    session: Session, principal_id: uuid.UUID, organization_id: uuid.UUID, tenant_id: uuid.UUID | None, now: dt.datetime
) -> list[_Row]:
    """Returns the roles at a place, own ones first.

    Columns rather than objects: what a session has read before, perhaps before it got a lock, must not count again.
    """
    places = [RoleAssignment.level == "organization"]
    if tenant_id is not None:
        places.append(RoleAssignment.tenant_id == tenant_id)
    statement = (
        select(RoleAssignment.role, RoleAssignment.level, RoleAssignment.project_id, RoleAssignment.expires, Team.name)
        .outerjoin(Team, Team.id == RoleAssignment.principal_id)
        .where(
            held_by(principal_id),
            RoleAssignment.organization_id == organization_id,
            in_force(now),
            or_(*places),
        )
        .order_by(RoleAssignment.created, RoleAssignment.id)
    )
    return sorted((_Row(*row) for row in session.execute(statement)), key=lambda row: row.team or "")


def _implied(row: _Row) -> Grant:
    via = f"organization role {row.role}" if row.team is None else f"team {row.team}"
    return Grant(PREDEFINED_ROLES[implied_tenant_role(row.role) or ""], via)


def _permissions_by_membership(grant: Grant) -> frozenset[str]:
    """What a role inside a tenant gives outside of it."""
    if grant.role.name == TENANT_ADMIN:
        return ADMINISTRATOR_PERMISSIONS
    return frozenset() if grant.role.name == TENANT_VISITOR else MEMBER_PERMISSIONS


def _require(decision: Decision) -> None:
    if not decision.allowed:
        raise Forbidden(f"You may not do this: {decision.reason}.")
