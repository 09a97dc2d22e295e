"""Rules of organizations."""

import datetime as dt
from dataclasses import dataclass
from typing import Any

from nagaya import audit
from nagaya.access import changes
from nagaya.access.models import RoleAssignment
from nagaya.access.policy import OrganizationAccess
from nagaya.access.roles import ORGANIZATION_ADMIN
from nagaya.access.standing import standing_of
from nagaya.errors import Conflict, Forbidden
from nagaya.http.transactions import UnitOfWork
from nagaya.identity.principal import Principal
from nagaya.organizations import repository
from nagaya.organizations.models import Organization
from nagaya.organizations.schemas import OrganizationCreate
from nagaya.tenants.platform import TenantPlatform
from nagaya.tenants.schemas import TenantCreate
from nagaya.tenants.service import Tenants


@dataclass(frozen=True, slots=True)
class Organizations:
    """The service for one request.

    Args:
        work: Unit of work of the request.
        platform: Settings and what tenants need.
        now: Current time.
    """

    work: UnitOfWork
    platform: TenantPlatform
    now: dt.datetime

    @staticmethod
    def may_create(platform: TenantPlatform, principal: Principal) -> bool:
        """Whether the principal may make organizations: superusers, and all people if the platform lets them."""
        return principal.superuser or (platform.anyone_may_create_organizations and principal.kind == "user")

    def create(self, principal: Principal, body: OrganizationCreate) -> OrganizationAccess:
        """Makes an organization, with its first tenants if asked; the creator becomes its administrator.

        Raises:
            Forbidden: The caller is not a superuser, and the platform does not let everybody do this.
            Conflict: The name is, or ever was, taken.
        """
        if not self.may_create(self.platform, principal):
            raise Forbidden("You may not create organizations: only superusers may on this installation.")
        if repository.name_taken(self.work.session, body.name):
            raise Conflict(f"The name {body.name!r} is or was taken: choose another one.")
        organization = Organization(
            name=body.name, display_name=body.display_name or body.name, description=body.description
        )
        self.work.session.add(organization)
        self.work.session.flush()
        self.work.session.add(
            RoleAssignment(
                organization_id=organization.id,
                principal_id=principal.id,
                principal_kind=principal.kind,
                role=ORGANIZATION_ADMIN,
                level="organization",
                created_by=principal.id,
            )
        )
        self.work.session.flush()
        self._audit("organization.create", organization, {})
        standing = standing_of(self.work.session, principal, organization.id, None, self.now)
        access = OrganizationAccess(organization, standing)
        tenants = Tenants(self.work, self.platform, self.now)
        for each in body.tenants:
            tenants.create(access, TenantCreate.model_validate(each.model_dump()))
        return access

    def change(self, access: OrganizationAccess, changed: dict[str, Any]) -> None:
        """Changes the display name or the description."""
        organization = access.organization
        differing = sorted(name for name, value in changed.items() if getattr(organization, name) != value)
        for name in differing:
            setattr(organization, name, changed[name])
        if differing:
            self._audit("organization.update", organization, {"fields": differing})

    def delete(self, access: OrganizationAccess) -> None:
        """Deletes an organization that has no tenants; its name is never given away again.

        Raises:
            Conflict: There are tenants that are not deleted.
        """
        organization = access.organization
        if count := repository.living_tenants(self.work.session, organization):
            raise Conflict(
                f"{organization.name} still has {count} tenant{'s' if count > 1 else ''}: delete them first."
            )
        organization.deleted = self.now
        self._audit("organization.delete", organization, {})
        changes.organization_changed(self.work, organization.id)

    def _audit(self, action: str, organization: Organization, details: dict[str, Any]) -> None:
        audit.record(
            self.work,
            action,
            audit.Target("organization", organization.id, organization.name),
            organization_id=organization.id,
            details=details,
        )
