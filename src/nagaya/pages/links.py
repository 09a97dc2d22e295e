"""Links that ZenML's clients and servers print and that are not paths of ours: each leads to the page that is meant.

They print `<dashboard>/workspaces/<name>` (zenml ≥ 0.80.0) or `<dashboard>/organizations/<id>/tenants/<id>` (before),
with runs and models below, and `<dashboard>/organizations/<id>`. `<dashboard>` is `<public URL>/o/<organization>`, as
our tenants report it, or the public URL, where somebody has set the client's `ZENML_PRO_URL` to that.
"""

from typing import Annotated

from fastapi import Path, Request
from starlette.responses import Response

from nagaya.access.policy import reach_organization, reach_tenant
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import UnitOfWork
from nagaya.pages.browser import SignedIn, go, view

router = Routes(include_in_schema=False)
IdOrName = Annotated[str, Path(max_length=64)]


@router.get("/organizations/{organization}")
@router.get("/o/{_prefix}/organizations/{organization}")
async def organization_link(organization: IdOrName, request: Request, state: State, principal: SignedIn) -> Response:
    """Leads to an organization's page."""

    def read(work: UnitOfWork) -> str:
        return reach_organization(work.session, principal, organization, state.now()).organization.name

    return go(request, f"/o/{await view(request, read)}")


@router.get("/workspaces/{tenant}")
@router.get("/workspaces/{tenant}/{rest:path}")
@router.get("/organizations/{_organization}/tenants/{tenant}")
@router.get("/organizations/{_organization}/tenants/{tenant}/{rest:path}")
@router.get("/o/{_prefix}/organizations/{_organization}/tenants/{tenant}")
@router.get("/o/{_prefix}/organizations/{_organization}/tenants/{tenant}/{rest:path}")
async def tenant_link(tenant: IdOrName, request: Request, state: State, principal: SignedIn) -> Response:
    """Leads to a tenant's page; what the link names below the tenant has no page of its own."""

    def read(work: UnitOfWork) -> str:
        access = reach_tenant(work.session, principal, tenant, state.now())
        return f"/o/{access.organization.name}/t/{access.tenant.name}"

    return go(request, await view(request, read))
