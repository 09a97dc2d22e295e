"""Pages of organizations and tenants."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Path, Request
from starlette.responses import Response

from nagaya.access.policy import OrganizationAccess, reach_organization, reach_tenant
from nagaya.access.reach import organizations_of, tenants_of
from nagaya.http.routing import Routes
from nagaya.http.state import AppState, State
from nagaya.http.transactions import UnitOfWork
from nagaya.identity.principal import Principal
from nagaya.organizations import repository as organizations
from nagaya.organizations.models import Organization
from nagaya.pages.browser import SignedIn, go, view
from nagaya.pages.creation import may_create_organizations
from nagaya.pages.rendering import markdown, render
from nagaya.tenants import repository as tenants
from nagaya.tenants.models import Tenant
from nagaya.tenants.reading import address_of
from nagaya.tenants.spec import Addresses

router = Routes(include_in_schema=False)
SHOWN = 500
EACH = 10
"""How many tenants of each organization the start page shows to people with several."""
Name = Annotated[str, Path(max_length=64)]


@dataclass(frozen=True)
class Household:
    """An organization on the start page.

    Args:
        organization: The organization.
        tenants: Those of its tenants that the visitor may know of.
        total: How many there are.
        may_create: Whether the visitor may make another one.
        complete: Whether the page shows as many as any page does.
    """

    organization: Organization
    tenants: list[Tenant]
    total: int
    may_create: bool
    complete: bool


def _household(
    work: UnitOfWork, state: AppState, principal: Principal, access: OrganizationAccess, limit: int
) -> Household:
    statement = tenants.listing(
        tenants_of(principal, state.now()), tenants.Filters(organization_id=access.id), Addresses.of(state.settings)
    )
    total, rows = tenants.page(work.session, statement, 0, limit)
    may = access.standing.check("tenant:create").allowed
    return Household(access.organization, [tenant for tenant, _ in rows], total, may, limit == SHOWN)


@router.get("/")
async def start_page(request: Request, state: State, principal: SignedIn) -> Response:
    """Shows all organizations of the visitor with their tenants."""

    def read(work: UnitOfWork) -> list[Household]:
        reach = organizations_of(principal, state.now())
        found = work.session.scalars(organizations.listing(reach).limit(SHOWN)).all()
        accesses = [reach_organization(work.session, principal, str(each.id), state.now()) for each in found]
        limit = SHOWN if len(accesses) == 1 else EACH
        return [_household(work, state, principal, access, limit) for access in accesses]

    return render(
        request,
        "home.html",
        title="Organizations",
        households=await view(request, read),
        may_create_organizations=may_create_organizations(state, principal),
    )


@router.get("/o/{organization}")
async def organization_page(organization: Name, request: Request, state: State, principal: SignedIn) -> Response:
    """Shows an organization's tenants."""

    def read(work: UnitOfWork) -> Household:
        access = reach_organization(work.session, principal, organization, state.now())
        return _household(work, state, principal, access, SHOWN)

    household = await view(request, read)
    return render(request, "organization.html", title=household.organization.display_name, household=household)


@router.get("/o/{organization}/t/{tenant}")
@router.get("/o/{organization}/workspaces/{tenant}")
@router.get("/o/{organization}/workspaces/{tenant}/{rest:path}")
async def tenant_page(
    organization: Name, tenant: Name, request: Request, state: State, *, principal: SignedIn, rest: str = ""
) -> Response:
    """Shows how to use a tenant; stock clients print links to it, in which `rest` names a run, a model …"""

    def read(work: UnitOfWork) -> tuple[Tenant, Organization, bool]:
        access = reach_tenant(work.session, principal, f"{organization}/{tenant}", state.now())
        return access.tenant, access.organization, access.standing.check("tenant:operate").allowed

    found, home, operator = await view(request, read)
    addresses = Addresses.of(state.settings)
    url = address_of(found, home, addresses)
    return render(
        request,
        "tenant.html",
        title=found.display_name,
        tenant=found,
        organization=home,
        operator=operator,
        url=url,
        docs=f"{url if found.enrolled else addresses.tenant_path(home.name, found.name)}/docs",
        api_url=state.settings.api_url,
        documentation=markdown(found.documentation),
        rest=rest[:300],
    )


@router.get("/o/{organization}/api/auth/login")
async def external_login(organization: Name, request: Request) -> Response:
    """Where a tenant's server sends browsers to sign in (zenml's `authorization_url`)."""
    return go(request, f"/login?next=/o/{organization}" if organization.isalnum() else "/login")
