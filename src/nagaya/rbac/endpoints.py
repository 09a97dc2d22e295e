"""HTTP: who may do what, for ZenML servers that ask about their own tenant (wire contract, section 5).

Up to 0.82.1 permissions are checked with GET, later with POST; both have the same answer. Every string that was asked
about is a key of it, exactly as it was written, because a server takes a missing one for a failure.
"""

from typing import Annotated, Any

from anyio import to_thread
from fastapi import Body, Depends, Query
from sqlalchemy import select

from nagaya import audit
from nagaya.access.models import Share
from nagaya.errors import Forbidden, InvalidInput, NotFound, responses
from nagaya.http.lists import Paging
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import Db, TransactionRoute, Work
from nagaya.identity.policy import ServerPrincipal
from nagaya.rbac import service
from nagaya.rbac.policies import Policies
from nagaya.rbac.schemas import AllowedResources, ResourceMember, ResourceMembership
from nagaya.tenants.events import forget_shares
from nagaya.tenants.models import Tenant
from nagaya.tenants.platform import Platform
from nagaya.tenants.sharing import ShareRequest, share_in
from nagaya_policy import ResourceError

router = Routes(prefix="/rbac", tags=["servers"], route_class=TransactionRoute)
MOST = 20_000
"""Resources in one question; the largest page of a ZenML server has 10,000 items."""

Who = Annotated[str, Query(max_length=64, description="The platform's id of a user or service account.")]
Act = Annotated[str, Query(max_length=64, description="E.g. `read`.")]
Name = Annotated[str, Query(max_length=300, description="A resource, as ZenML writes it.")]


def policies_of(platform: Platform) -> Policies:
    """Returns the policies that this process keeps."""
    return platform.policies


Known = Annotated[Policies, Depends(policies_of)]


def _check(
    server: ServerPrincipal, state: State, known: Known, user_id: str, action: str, resources: list[str]
) -> dict[str, bool]:
    with state.database.read() as session:
        policy = known.of(session, server.tenant_id, state)
    return service.check(policy, user_id, action, resources, now=state.now().timestamp())


@router.get("/check_permissions")
def check_permissions_in_query(
    server: ServerPrincipal,
    state: State,
    known: Known,
    user_id: Who,
    action: Act,
    resources: Annotated[list[str], Query(max_length=MOST, default_factory=list)],
) -> dict[str, bool]:
    """Tells for each of some resources whether somebody may do something with it (servers up to 0.82.1)."""
    return _check(server, state, known, user_id, action, resources)


@router.post("/check_permissions")
async def check_permissions(
    server: ServerPrincipal,
    state: State,
    known: Known,
    user_id: Who,
    action: Act,
    resources: Annotated[list[str], Body(max_length=MOST)],
) -> dict[str, bool]:
    """Tells for each of some resources whether somebody may do something with it (servers since 0.83.0)."""
    # Not within the transaction that other POST requests get: this one changes nothing and must not wait for those.
    return await to_thread.run_sync(_check, server, state, known, user_id, action, resources)


@router.get("/allowed_resource_ids")
def read_allowed_resource_ids(
    server: ServerPrincipal, state: State, known: Known, user_id: Who, action: Act, resource: Name
) -> AllowedResources:
    """Tells which resources of a type somebody may act upon, beside the own ones, which a server knows itself."""
    with state.database.read() as session:
        policy = known.of(session, server.tenant_id, state)
    found = service.allowed_ids(policy, user_id, action, resource, now=state.now().timestamp())
    return AllowedResources(full_access=found.full_access, ids=list(found.ids))


@router.get("/resource_members", responses=responses(Forbidden))
def list_resource_members(server: ServerPrincipal, db: Db, page: Paging, resource: Name) -> list[ResourceMember]:
    """Lists with whom a resource of the tenant is shared, and for which actions."""
    names = _names(server, resource)
    rows = page.fetch(
        db,
        select(Share)
        .where(Share.tenant_id == server.tenant_id, Share.resource.in_(names))
        .order_by(Share.created, Share.id),
    )
    return [ResourceMember.model_validate(row) for row in rows]


@router.post("/resource_members", responses=responses(Forbidden))
def share_resource(
    server: ServerPrincipal, body: ResourceMembership, work: Work, state: State, platform: Platform
) -> dict[str, Any]:
    """Replaces what somebody, or a team, may do with one resource of the tenant.

    The server has checked that whoever shares holds every action, or made the resource; only its database knows the
    latter. Here it is checked that they belong to the tenant, and that the receiver belongs to the organization.
    """
    try:
        wanted = ShareRequest(
            **body.model_dump(exclude={"resource"}), resource=_names(server, body.resource)[0], owned=True
        )
        actions = share_in(work, platform.issuer, server.tenant_id, wanted, state.now())
    except (InvalidInput, NotFound) as error:
        # Of all refusals a server passes only this one on to its caller with the reason (wire contract, 3.2).
        raise Forbidden(error.detail) from error
    return {"resource": body.resource, "actions": actions}


@router.delete("/resources", responses=responses(Forbidden))
def forget_resources(
    server: ServerPrincipal, work: Work, resources: Annotated[list[Name], Query(max_length=MOST)]
) -> dict[str, int]:
    """Ends the shares of deleted resources; of a project those of all that was in it, which a server does not name."""
    tenant = work.session.get_one(Tenant, server.tenant_id, with_for_update=True)
    forget_shares(work, tenant, [name for each in resources for name in _names(server, each)])
    audit.record(
        work,
        "resource.delete",
        audit.Target("resource", resources[0][:64] if resources else "", ""),
        organization_id=server.organization_id,
        tenant_id=server.tenant_id,
        details={"resources": resources[:20], "count": len(resources)},
    )
    return {"resources": len(resources)}


def _names(server: ServerPrincipal, resource: str) -> list[str]:
    """Returns how shares of a resource of the calling server may be stored."""
    try:
        names = service.stored_names(resource)
    except ResourceError as error:
        raise Forbidden(str(error)) from error
    if service.is_foreign(str(server.tenant_id), resource):
        raise Forbidden("This is a resource of another server.")
    return names
