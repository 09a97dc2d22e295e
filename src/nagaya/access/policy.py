"""Named dependencies that authenticate, resolve an organization or a tenant, and authorize, before an endpoint runs."""

import datetime as dt
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Path, Query
from sqlalchemy.orm import Session

from nagaya.access.places import Place
from nagaya.access.reach import AccessibleOrganizationId, AccessibleTenantId, organizations_of, tenants_of
from nagaya.access.standing import Standing, standing_of
from nagaya.errors import Conflict, InvalidInput, NotFound
from nagaya.http.state import State
from nagaya.http.transactions import Db, UnitOfWork
from nagaya.identity.policy import CurrentPrincipal
from nagaya.identity.principal import Principal
from nagaya.organizations import repository as organizations
from nagaya.organizations.models import Organization
from nagaya.tenants import repository as tenants
from nagaya.tenants.models import Tenant

A = TypeVar("A")
IdOrName = Annotated[str, Path(max_length=64, description="Id or name.")]


@dataclass(frozen=True, slots=True)
class OrganizationAccess:
    """An organization that the caller was found to be allowed to act in.

    Args:
        organization: The organization.
        standing: What the caller holds in it.
    """

    organization: Organization
    standing: Standing

    @property
    def id(self) -> AccessibleOrganizationId:
        """Its id, as repositories take it."""
        return AccessibleOrganizationId(self.organization.id)

    def place(self, work: UnitOfWork) -> Place:
        """Returns the organization as a place where roles are given."""
        return Place(work, self.standing, self.organization, None, self.standing.now)


@dataclass(frozen=True, slots=True)
class TenantAccess:
    """A tenant that the caller was found to be allowed to act on.

    Args:
        tenant: The tenant.
        organization: Its organization.
        standing: What the caller holds in both.
    """

    tenant: Tenant
    organization: Organization
    standing: Standing

    @property
    def id(self) -> AccessibleTenantId:
        """Its id, as repositories take it."""
        return AccessibleTenantId(self.tenant.id)

    @property
    def organization_id(self) -> AccessibleOrganizationId:
        """The id of its organization, as repositories take it."""
        return AccessibleOrganizationId(self.organization.id)

    @property
    def name(self) -> str:
        """`organization/tenant`."""
        return f"{self.organization.name}/{self.tenant.name}"

    def place(self, work: UnitOfWork) -> Place:
        """Returns the tenant as a place where roles are given."""
        return Place(work, self.standing, self.organization, self.tenant, self.standing.now)


def reach_organization(session: Session, principal: Principal, id_or_name: str, now: dt.datetime) -> OrganizationAccess:
    """Returns an organization that the principal may know of.

    Raises:
        NotFound: There is none, or it is none of the principal's business.
    """
    organization = organizations.find(session, organizations_of(principal, now), id_or_name)
    if organization is None:
        raise NotFound(f"There is no organization {id_or_name!r}, or you are not a member of it.")
    return OrganizationAccess(organization, standing_of(session, principal, organization.id, None, now))


def only_organization(session: Session, principal: Principal, now: dt.datetime) -> str:
    """Returns the id of the one organization that the principal may know of, for requests that name none.

    Raises:
        InvalidInput: There are none or several.
    """
    reachable = session.scalars(organizations.listing(organizations_of(principal, now)).limit(2)).all()
    if len(reachable) != 1:
        sentence = "Say in which organization: you belong to several, or to none."
        raise InvalidInput(sentence, fields={"organization": sentence})
    return str(reachable[0].id)


def reach_tenant(session: Session, principal: Principal, id_or_name: str, now: dt.datetime) -> TenantAccess:
    """Returns a tenant that the principal may know of.

    Args:
        session: Database session.
        principal: Who asks.
        id_or_name: Id, name, or `organization/name`.
        now: Current time.

    Raises:
        NotFound: There is none, or it is none of the principal's business.
        Conflict: Several tenants in reach have this name; the message lists them.
    """
    found = tenants.find(session, tenants_of(principal, now), id_or_name)
    if not found:
        raise NotFound(f"There is no tenant {id_or_name!r}, or you have no access to it.")
    if len(found) > 1:
        raise ambiguous(id_or_name, found)
    tenant, organization = found[0]
    return TenantAccess(tenant, organization, standing_of(session, principal, organization.id, tenant.id, now))


def ambiguous(name: str, found: list[tuple[Tenant, Organization]]) -> Conflict:
    """Returns the error for a name that several tenants in the caller's reach have."""
    choices = ", ".join(sorted(f"{organization.name}/{tenant.name}" for tenant, organization in found))
    return Conflict(f"Several tenants are called {name!r}: use one of {choices}, or an id.")


def organization_dependency(permission: str) -> Callable[..., OrganizationAccess]:
    """Returns the dependency that resolves `{organization}` and demands a permission in it."""

    def resolve(organization: IdOrName, principal: CurrentPrincipal, db: Db, state: State) -> OrganizationAccess:
        access = reach_organization(db, principal, organization, state.now())
        access.standing.require(permission)
        return access

    return resolve


def tenant_dependency(permission: str) -> Callable[..., TenantAccess]:
    """Returns the dependency that resolves `{tenant}` and demands a permission on it."""

    def resolve(tenant: IdOrName, principal: CurrentPrincipal, db: Db, state: State) -> TenantAccess:
        access = reach_tenant(db, principal, tenant, state.now())
        access.standing.require_tenant(permission)
        return access

    return resolve


@dataclass(frozen=True, slots=True)
class Leaving(Generic[A]):
    """Who is to leave a place, named in the query, and the caller's right to see to it.

    Args:
        access: The organization or tenant.
        principal_id: Who.
    """

    access: A
    principal_id: uuid.UUID


UserId = Annotated[uuid.UUID | None, Query(description="A user.")]
ServiceAccountId = Annotated[uuid.UUID | None, Query(description="A service account.")]
TeamId = Annotated[uuid.UUID | None, Query(description="A team.")]


def one_of(**ids: uuid.UUID | None) -> uuid.UUID:
    """Returns the one id that a query gives.

    Args:
        ids: What the query may give, by its names.

    Raises:
        InvalidInput: None or several are given.
    """
    given = [each for each in ids.values() if each is not None]
    if len(given) != 1:
        sentence = f"Give exactly one of {', '.join(ids)}."
        raise InvalidInput(sentence, fields=dict.fromkeys(ids, "give exactly one of these"))
    return given[0]


def _person(user_id: UserId = None, service_account_id: ServiceAccountId = None) -> uuid.UUID:
    return one_of(user_id=user_id, service_account_id=service_account_id)


def _person_or_team(
    user_id: UserId = None, service_account_id: ServiceAccountId = None, team_id: TeamId = None
) -> uuid.UUID:
    return one_of(user_id=user_id, service_account_id=service_account_id, team_id=team_id)


def reached_organization(
    organization: IdOrName, principal: CurrentPrincipal, db: Db, state: State
) -> OrganizationAccess:
    """Resolves `{organization}` for dependencies that decide themselves what it takes."""
    return reach_organization(db, principal, organization, state.now())


def reached_tenant(tenant: IdOrName, principal: CurrentPrincipal, db: Db, state: State) -> TenantAccess:
    """Resolves `{tenant}` for dependencies that decide themselves what it takes."""
    return reach_tenant(db, principal, tenant, state.now())


# The place comes first in each: of an organization that is none of theirs people must not even learn what it takes.
ReachedOrganization = Annotated[OrganizationAccess, Depends(reached_organization)]
ReachedTenant = Annotated[TenantAccess, Depends(reached_tenant)]


def _leaver(access: ReachedOrganization, principal_id: str, principal: CurrentPrincipal) -> OrganizationAccess:
    if principal_id != str(principal.id):
        access.standing.require("member:delete")
    return access


def _leaver_by_query(
    access: ReachedOrganization, who: Annotated[uuid.UUID, Depends(_person)], principal: CurrentPrincipal
) -> Leaving[OrganizationAccess]:
    if who != principal.id:
        access.standing.require("member:delete")
    return Leaving(access, who)


def _tenant_leaver(access: ReachedTenant, principal_id: str, principal: CurrentPrincipal) -> TenantAccess:
    if principal_id != str(principal.id):
        access.standing.require_members()
    return access


def _tenant_leaver_by_query(
    access: ReachedTenant, who: Annotated[uuid.UUID, Depends(_person_or_team)], principal: CurrentPrincipal
) -> Leaving[TenantAccess]:
    if who != principal.id:
        access.standing.require_members()
    return Leaving(access, who)


def _tenant_manager(access: ReachedTenant) -> TenantAccess:
    access.standing.require_members()
    return access


OrganizationReader = Annotated[OrganizationAccess, Depends(organization_dependency("organization:read"))]
OrganizationEditor = Annotated[OrganizationAccess, Depends(organization_dependency("organization:update"))]
OrganizationRemover = Annotated[OrganizationAccess, Depends(organization_dependency("organization:delete"))]
MemberReader = Annotated[OrganizationAccess, Depends(organization_dependency("member:read"))]
MemberAdder = Annotated[OrganizationAccess, Depends(organization_dependency("member:create"))]
MemberEditor = Annotated[OrganizationAccess, Depends(organization_dependency("role:assign"))]
MemberRemover = Annotated[OrganizationAccess, Depends(_leaver)]
"""Whoever may remove members, and everybody for oneself."""
MemberLeaver = Annotated[Leaving[OrganizationAccess], Depends(_leaver_by_query)]
"""The same, with the member in the query."""
InvitationReader = Annotated[OrganizationAccess, Depends(organization_dependency("invitation:read"))]
InvitationMaker = Annotated[OrganizationAccess, Depends(organization_dependency("invitation:create"))]
InvitationRemover = Annotated[OrganizationAccess, Depends(organization_dependency("invitation:delete"))]
TeamReader = Annotated[OrganizationAccess, Depends(organization_dependency("team:read"))]
RoleReader = Annotated[OrganizationAccess, Depends(organization_dependency("role:read"))]

TenantReader = Annotated[TenantAccess, Depends(tenant_dependency("tenant:read"))]
TenantEditor = Annotated[TenantAccess, Depends(tenant_dependency("tenant:update"))]
TenantOperator = Annotated[TenantAccess, Depends(tenant_dependency("tenant:operate"))]
TenantRemover = Annotated[TenantAccess, Depends(tenant_dependency("tenant:delete"))]
TenantMemberReader = Annotated[TenantAccess, Depends(tenant_dependency("member:read"))]
TenantMemberEditor = Annotated[TenantAccess, Depends(_tenant_manager)]
"""Administrators of the tenant or of one of its projects, and whoever may assign roles in the organization."""
TenantMemberRemover = Annotated[TenantAccess, Depends(_tenant_leaver)]
TenantMemberLeaver = Annotated[Leaving[TenantAccess], Depends(_tenant_leaver_by_query)]
"""Administrators, and everybody for oneself, with the member in the query."""
