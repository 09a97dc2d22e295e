"""What one principal holds in an organization or tenant, and the control plane's decisions that follow from it."""

import datetime as dt
import uuid
from dataclasses import dataclass

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from nagaya.access.models import RoleAssignment, Share
from nagaya.access.reach import in_force
from nagaya.access.roles import TENANT_ADMIN, TENANT_VISITOR
from nagaya.errors import Forbidden
from nagaya.identity.principal import Principal
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
    """Roles of a principal, unexpired ones only.

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
    places = [RoleAssignment.level == "organization"]
    if tenant_id is not None:
        places.append(RoleAssignment.tenant_id == tenant_id)
    rows = session.scalars(
        select(RoleAssignment)
        .where(
            RoleAssignment.principal_id == principal.id,
            RoleAssignment.organization_id == organization_id,
            in_force(now),
            or_(*places),
        )
        .order_by(RoleAssignment.created, RoleAssignment.id)
    ).all()
    organization = [_organization_grant(row) for row in rows if row.level == "organization"]
    tenant: list[Grant] = []
    shared = False
    if tenant_id is not None:
        tenant.extend(
            Grant(PREDEFINED_ROLES[implied], f"organization role {held.role.name}")
            for held in organization
            if (implied := implied_tenant_role(held.role.name))
        )
        tenant.extend(_tenant_grant(row) for row in rows if row.level != "organization")
        shared = (
            session.scalar(
                select(Share.id).where(Share.tenant_id == tenant_id, Share.principal_id == principal.id).limit(1)
            )
            is not None
        )
    return Standing(principal, tuple(organization), tuple(tenant), shared, now)


def _permissions_by_membership(grant: Grant) -> frozenset[str]:
    """What a role inside a tenant gives outside of it."""
    if grant.role.name == TENANT_ADMIN:
        return ADMINISTRATOR_PERMISSIONS
    return frozenset() if grant.role.name == TENANT_VISITOR else MEMBER_PERMISSIONS


def _organization_grant(row: RoleAssignment) -> Grant:
    return Grant(PREDEFINED_ROLES[row.role], expires=row.expires.timestamp() if row.expires else None)


def _tenant_grant(row: RoleAssignment) -> Grant:
    return Grant(
        PREDEFINED_ROLES[row.role],
        project=None if row.project_id is None else str(row.project_id),
        expires=row.expires.timestamp() if row.expires else None,
    )


def _require(decision: Decision) -> None:
    if not decision.allowed:
        raise Forbidden(f"You may not do this: {decision.reason}.")
