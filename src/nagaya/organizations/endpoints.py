"""HTTP: organizations."""

from typing import Annotated

from fastapi import Path, Query

from nagaya.access.policy import (
    OrganizationAccess,
    OrganizationEditor,
    OrganizationReader,
    OrganizationRemover,
    ReachedOrganization,
    reach_tenant,
)
from nagaya.access.reach import organizations_of, tenants_of
from nagaya.access.standing import organization_roles
from nagaya.errors import Conflict, Forbidden, InvalidInput, responses
from nagaya.http.lists import Paging, Search
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import Db, TransactionRoute, Work
from nagaya.identity.policy import CurrentPrincipal
from nagaya.organizations import members, repository
from nagaya.organizations.models import Organization
from nagaya.organizations.schemas import (
    NameCheck,
    OrganizationCreate,
    OrganizationRead,
    OrganizationUpdate,
)
from nagaya.organizations.service import Organizations
from nagaya.tenants import repository as tenants
from nagaya.tenants.platform import Platform, TenantPlatform
from nagaya.tenants.reading import read_tenants
from nagaya.tenants.schemas import TenantRead
from nagaya.tenants.service import require_free, slug_of

router = Routes(prefix="/organizations", tags=["organizations"], route_class=TransactionRoute)
FREE_NAME = Annotated[str, Path(max_length=100)]


@router.get("")
def list_organizations(
    principal: CurrentPrincipal,
    db: Db,
    state: State,
    platform: Platform,
    page: Paging,
    name: Annotated[str | None, Query(max_length=64)] = None,
    q: Search = None,
) -> list[OrganizationRead]:
    """Lists the organizations that the caller belongs to, by name; superusers see all."""
    now = state.now()
    rows = page.fetch(db, repository.listing(organizations_of(principal, now), name=name, search=q))
    roles = organization_roles(db, principal.id, [row.id for row in rows], now)
    return [_shown(row, roles.get(row.id, []), platform) for row in rows]


@router.post("", status_code=201, responses=responses(Forbidden, Conflict))
def create_organization(
    body: OrganizationCreate, principal: CurrentPrincipal, work: Work, state: State, platform: Platform
) -> OrganizationRead:
    """Creates an organization, and tenants with it if asked: everything or nothing."""
    access = Organizations(work, platform, state.now()).create(principal, body)
    return _read(access, platform)


@router.get("/validation/name/{name}")
def validate_organization_name(name: FREE_NAME, _principal: CurrentPrincipal, db: Db) -> NameCheck:
    """Tells whether a new organization could have this name."""
    if reason := _bad_slug(name):
        return NameCheck(valid=False, reason=reason)
    taken = repository.name_taken(db, name)
    return NameCheck(valid=not taken, reason=f"The name {name!r} is or was taken." if taken else "")


@router.get("/{organization}", responses=responses(Forbidden))
def read_organization(access: OrganizationReader, platform: Platform) -> OrganizationRead:
    """Returns an organization by id or name."""
    return _read(access, platform)


@router.patch("/{organization}", responses=responses(Forbidden))
def update_organization(
    access: OrganizationEditor, body: OrganizationUpdate, work: Work, state: State, platform: Platform
) -> OrganizationRead:
    """Changes the display name or the description of an organization."""
    changed = {name: value for name, value in body.model_dump(exclude_unset=True).items() if value is not None}
    Organizations(work, platform, state.now()).change(access, changed)
    work.session.flush()
    return _read(access, platform)


@router.delete("/{organization}", status_code=204, responses=responses(Forbidden, Conflict))
def delete_organization(access: OrganizationRemover, work: Work, state: State, platform: Platform) -> None:
    """Deletes an organization that has no tenants any more."""
    Organizations(work, platform, state.now()).delete(access)


@router.get("/{organization}/validation/tenant_name/{name}", responses=responses(Forbidden))
@router.get(
    "/{organization}/validation/workspace_name/{name}",
    responses=responses(Forbidden),
    name="validate_workspace_name",
)
def validate_tenant_name(access: OrganizationReader, name: FREE_NAME, work: Work) -> NameCheck:
    """Tells whether a new tenant of the organization could have this name."""
    if reason := _bad_slug(name):
        return NameCheck(valid=False, reason=reason)
    try:
        require_free(work, access.organization, name)
    except Conflict as conflict:
        return NameCheck(valid=False, reason=conflict.detail)
    return NameCheck(valid=True, reason="")


@router.get("/{organization}/tenants", responses=responses(Forbidden))
@router.get("/{organization}/workspaces", responses=responses(Forbidden), name="list_organization_workspaces")
def list_organization_tenants(
    access: OrganizationReader, principal: CurrentPrincipal, db: Db, platform: Platform, page: Paging, q: Search = None
) -> list[TenantRead]:
    """Lists the tenants of the organization that the caller may know of, by name."""
    reach = tenants_of(principal, access.standing.now)
    filters = tenants.Filters(organization_id=access.id, search=q)
    statement = tenants.listing(reach, filters, platform.addresses)
    total, rows = tenants.page(db, statement, page.offset, page.limit)
    page.announce(total)
    return read_tenants(db, rows, platform.addresses)


@router.get("/{organization}/tenant/{name}", responses=responses(Forbidden))
@router.get("/{organization}/workspace/{name}", responses=responses(Forbidden), name="read_organization_workspace")
def read_organization_tenant(
    access: ReachedOrganization, name: FREE_NAME, principal: CurrentPrincipal, db: Db, platform: Platform
) -> TenantRead:
    """Returns a tenant of the organization by its name."""
    found = reach_tenant(db, principal, f"{access.organization.name}/{name}", access.standing.now)
    found.standing.require_tenant("tenant:read")
    return read_tenants(db, [(found.tenant, found.organization)], platform.addresses)[0]


def _read(access: OrganizationAccess, platform: TenantPlatform) -> OrganizationRead:
    return _shown(access.organization, [grant.role.name for grant in access.standing.organization_grants], platform)


def _shown(organization: Organization, roles: list[str], platform: TenantPlatform) -> OrganizationRead:
    return OrganizationRead(
        id=organization.id,
        name=organization.name,
        display_name=organization.display_name,
        description=organization.description,
        created=organization.created,
        updated=organization.updated,
        url=platform.addresses.dashboard_url(organization.name),
        roles=roles,
    )


def _bad_slug(name: str) -> str:
    try:
        fits = slug_of(name) == name
    except InvalidInput:
        fits = False
    return "" if fits else "A name has 2 to 30 lower-case letters, digits and single hyphens and starts with a letter."


members.add_routes(router)
