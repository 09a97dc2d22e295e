"""HTTP: usage as ZenML servers report it, the limits they ask for (wire contract, section 6), and both for people."""

import uuid
from typing import Annotated, Any, Literal

from fastapi import Body, Depends, Path

from nagaya.access.policy import OrganizationAccess, TenantAccess, organization_dependency, tenant_dependency
from nagaya.errors import Forbidden, LimitReached, responses
from nagaya.http.lists import Paging
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import Db, TransactionRoute, Work
from nagaya.identity.policy import ServerPrincipal
from nagaya.identity.principal import Server
from nagaya.tenants.models import Tenant
from nagaya.usage import limits, repository, service
from nagaya.usage.models import RESOURCE_LENGTH, storable
from nagaya.usage.schemas import Entitlement, Limits, UsageEvent, UsageRead, UsageTaken

UNKNOWN = "unknown"
"""What a server sends as its organization if it knows none."""
MOST_EVENTS = 1000

servers = Routes(tags=["servers"], route_class=TransactionRoute)
people = Routes(tags=["usage"], route_class=TransactionRoute)

UsageReader = Annotated[OrganizationAccess, Depends(organization_dependency("usage:read"))]
LimitReader = Annotated[OrganizationAccess, Depends(organization_dependency("billing:read"))]
LimitEditor = Annotated[OrganizationAccess, Depends(organization_dependency("billing:update"))]


def _limit_reader(access: Annotated[TenantAccess, Depends(tenant_dependency("tenant:read"))]) -> TenantAccess:
    return access


def _limit_editor(access: Annotated[TenantAccess, Depends(tenant_dependency("tenant:read"))]) -> TenantAccess:
    # A limit would be none if the tenant's own administrators could lift it.
    access.standing.require("billing:update")
    return access


TenantLimitReader = Annotated[TenantAccess, Depends(_limit_reader)]
TenantLimitEditor = Annotated[TenantAccess, Depends(_limit_editor)]


@servers.get("/organizations/{organization_id}/entitlement/{feature}", responses=responses(Forbidden, LimitReached))
def check_entitlement(
    organization_id: Annotated[str, Path(max_length=64)],
    feature: Annotated[str, Path(max_length=64)],
    server: ServerPrincipal,
    db: Db,
) -> Entitlement:
    """Tells a server whether its tenant may have one more resource of a feature: 402 if a limit is reached."""
    _require_home(server, organization_id)
    limits.require(db, server.tenant_id, server.organization_id, feature)
    return Entitlement(feature=feature)


@servers.post("/usage-event", responses=responses(Forbidden))
def report_usage(server: ServerPrincipal, body: UsageEvent, work: Work, state: State) -> UsageTaken:
    """Takes in that a server has a resource more or less; the same resource counts once."""
    return _take_in(server, [body], work, state)[0]


@servers.post("/usage-batch", responses=responses(Forbidden))
def report_usage_batch(
    server: ServerPrincipal,
    body: Annotated[list[UsageEvent], Body(min_length=1, max_length=MOST_EVENTS)],
    work: Work,
    state: State,
) -> list[UsageTaken]:
    """Takes in several usage events, all or none."""
    return _take_in(server, body, work, state)


def _take_in(server: Server, events: list[UsageEvent], work: Work, state: State) -> list[UsageTaken]:
    for event in events:
        _require_home(server, event.organization_id)
        place = event.metadata.get("workspace_id") or event.metadata.get("tenant_id")
        if place is not None and str(place) != str(server.tenant_id):
            raise Forbidden("This is usage of another tenant: a server reports its own only.")
    tenant = work.session.get_one(Tenant, server.tenant_id, with_for_update=True)
    reports = [service.Report(each.feature, _resource(each), each.total == -1) for each in events]
    changed = service.take_in(work, tenant, reports, state.now())
    return [UsageTaken(feature=event.feature, counted=counted) for event, counted in zip(events, changed, strict=True)]


def _resource(event: UsageEvent) -> str:
    resource = event.metadata.get("resource_id")
    # Without an id nothing says that it was reported before, so it counts as one more.
    text = storable(str(resource), RESOURCE_LENGTH) if resource else ""
    return text or f"unnamed-{uuid.uuid4()}"


def _require_home(server: Server, organization_id: str) -> None:
    if organization_id not in {UNKNOWN, str(server.organization_id)}:
        raise Forbidden(
            f"This server belongs to another organization: set ZENML_SERVER_PRO_ORGANIZATION_ID to "
            f"{server.organization_id}."
        )


@people.get("/organizations/{organization}/usage", responses=responses(Forbidden))
def list_usage(access: UsageReader, db: Db, page: Paging) -> list[UsageRead]:
    """Lists what each tenant of the organization uses, by name of the tenant."""
    tenants = page.fetch(db, repository.listing(access.id))
    ids = [each.id for each in tenants]
    counts, own = repository.counts(db, ids), repository.limits(db, ids)
    return [
        UsageRead(tenant_id=each.id, tenant=each.name, features=counts.get(each.id, {}), limits=own.get(each.id, {}))
        for each in tenants
    ]


@people.get("/organizations/{organization}/limits", responses=responses(Forbidden))
def read_limits(access: LimitReader, db: Db) -> Limits:
    """Returns how many resources the tenants of the organization may have together."""
    return Limits(limits=repository.limits(db, [access.id]).get(access.id, {}))


@people.put("/organizations/{organization}/limits", responses=responses(Forbidden))
def update_limits(access: LimitEditor, body: Limits, work: Work) -> Limits:
    """Replaces the limits of the organization; what there is already stays."""
    service.set_limits(work, access.id, None, body.limits, access.organization.name)
    return body


def read_tenant_limits(access: TenantLimitReader, db: Db) -> Limits:
    """Returns how many resources the tenant may have."""
    return Limits(limits=repository.limits(db, [access.id]).get(access.id, {}))


def update_tenant_limits(access: TenantLimitEditor, body: Limits, work: Work) -> Limits:
    """Replaces the limits of the tenant; what there is already stays."""
    service.set_limits(work, access.organization_id, access.tenant, body.limits, access.name)
    return body


def _add_tenant_routes(noun: Literal["tenant", "workspace"]) -> None:
    for method, function in (("GET", read_tenant_limits), ("PUT", update_tenant_limits)):
        options: dict[str, Any] = {"methods": [method], "name": function.__name__.replace("tenant", noun)}
        people.add_api_route(f"/{noun}s/{{tenant}}/limits", function, responses=responses(Forbidden), **options)


_add_tenant_routes("tenant")
_add_tenant_routes("workspace")
router = Routes()
router.include(servers)
router.include(people)
