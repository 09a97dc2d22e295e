"""HTTP: tenants, under `/tenants` and, for newer ZenML clients, the same functions under `/workspaces`."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Path, Query, Response

from nagaya.access.policy import (
    TenantAccess,
    TenantEditor,
    TenantOperator,
    TenantReader,
    TenantRemover,
    ambiguous,
    reach_organization,
    reach_tenant,
)
from nagaya.access.reach import organizations_of, tenants_of
from nagaya.errors import Conflict, Forbidden, InvalidInput, Unavailable, responses
from nagaya.http.lists import Paging
from nagaya.http.state import State
from nagaya.http.transactions import Db, TransactionRoute, Work
from nagaya.identity.policy import CurrentPrincipal, ServerPrincipal
from nagaya.organizations import repository as organizations
from nagaya.runtime.interface import RuntimeFailure
from nagaya.tenants import members, repository
from nagaya.tenants.lifecycle import Event
from nagaya.tenants.platform import Platform
from nagaya.tenants.reading import read_tenants
from nagaya.tenants.schemas import TenantCreate, TenantLogs, TenantRead, TenantUpdate
from nagaya.tenants.service import Tenants

OPERATION_HEADER = "Nagaya-Operation"
MAX_LOG_LINES = 10_000

Filter = Annotated[str | None, Query(max_length=300)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=64,
        pattern=r"^[\x21-\x7e]+$",
        description="A repeated request with the same key creates nothing new.",
    ),
]


def list_tenants(
    principal: CurrentPrincipal,
    db: Db,
    state: State,
    platform: Platform,
    page: Paging,
    tenant_name: Filter = None,
    workspace_name: Filter = None,
    url: Filter = None,
    organization_id: Annotated[Filter, Query(description="Id or name.")] = None,
    status: Filter = None,
    stage: Filter = None,
    label: Annotated[Filter, Query(description="`key=value`.")] = None,
    search: Filter = None,
    member_only: Annotated[bool, Query(description="Only tenants that the caller may enter.")] = False,
) -> list[TenantRead]:
    """Lists the tenants that the caller may know of, by organization and name.

    `tenant_name` (or `workspace_name`) matches exactly and may be `organization/name`; a name that several tenants have
    is an error that lists them, because ZenML's clients take whichever comes first.
    """
    now = state.now()
    name = tenant_name if tenant_name is not None else workspace_name
    organization = None
    if organization_id is not None:
        organization = reach_organization(db, principal, organization_id, now).id
    key, equals, value = (label or "").partition("=")
    if label is not None and not equals:
        raise InvalidInput("label must be key=value.", fields={"label": "must be key=value"})
    filters = repository.Filters(
        name=name,
        url=url,
        organization_id=organization,
        status=status,
        stage=stage,
        label=(key, value) if label is not None else None,
        search=search,
    )
    reach = tenants_of(principal, now, member_only=member_only)
    statement = repository.listing(reach, filters, platform.addresses)
    total, rows = repository.page(db, statement, page.offset, page.limit)
    if name is not None and total > 1:
        raise ambiguous(name, rows)
    page.announce(total)
    return read_tenants(db, rows, platform.addresses)


def create_tenant(
    body: TenantCreate,
    principal: CurrentPrincipal,
    work: Work,
    state: State,
    platform: Platform,
    response: Response,
    idempotency_key: Key = None,
) -> TenantRead:
    """Creates a tenant. Answers at once with `status: pending`; the header names the operation to follow."""
    now = state.now()
    wanted = body.organization
    if wanted is None:
        reachable = work.session.scalars(organizations.listing(organizations_of(principal, now)).limit(2)).all()
        if len(reachable) != 1:
            sentence = "Say in which organization: you belong to several, or to none."
            raise InvalidInput(sentence, fields={"organization": sentence})
        wanted = str(reachable[0].id)
    access = reach_organization(work.session, principal, wanted, now)
    access.standing.require("tenant:create")
    tenant, operation = Tenants(work, platform, now).create(access, body, key=idempotency_key)
    response.headers[OPERATION_HEADER] = str(operation.id)
    return read_tenants(work.session, [(tenant, access.organization)], platform.addresses)[0]


def read_tenant(access: TenantReader, db: Db, platform: Platform) -> TenantRead:
    """Returns a tenant by id, or by a name that is unambiguous for the caller."""
    return read_tenants(db, [(access.tenant, access.organization)], platform.addresses)[0]


def read_tenant_by_names(
    organization: Annotated[str, Path(max_length=64)],
    name: Annotated[str, Path(max_length=64)],
    principal: CurrentPrincipal,
    db: Db,
    state: State,
    platform: Platform,
) -> TenantRead:
    """Returns a tenant by the names of its organization and its own."""
    access = reach_tenant(db, principal, f"{organization}/{name}", state.now())
    access.standing.require_tenant("tenant:read")
    return read_tenants(db, [(access.tenant, access.organization)], platform.addresses)[0]


def update_tenant(access: TenantEditor, body: TenantUpdate, work: Work, state: State, platform: Platform) -> TenantRead:
    """Changes settings of a tenant."""
    given = body.model_dump(exclude_unset=True)
    changed = {name: value for name, value in given.items() if value is not None or name == "stage"}
    if changed.get("protected") is False and access.tenant.protected:
        # Protection would be none if everybody who may change settings could take it away.
        access.standing.require("tenant:delete")
    Tenants(work, platform, state.now()).change(access, changed)
    work.session.flush()
    return read_tenants(work.session, [(access.tenant, access.organization)], platform.addresses)[0]


def delete_tenant(
    access: TenantRemover, work: Work, state: State, platform: Platform, response: Response
) -> TenantRead:
    """Deletes a tenant softly: it can be restored for 7 days, then everything of it is removed."""
    return _act(access, Event.DELETE, work, state, platform, response)


def deploy_tenant(
    access: TenantOperator, work: Work, state: State, platform: Platform, response: Response
) -> TenantRead:
    """Deploys a deactivated tenant, or tries again after a failure."""
    return _act(access, Event.DEPLOY, work, state, platform, response)


def deactivate_tenant(
    access: TenantOperator, work: Work, state: State, platform: Platform, response: Response
) -> TenantRead:
    """Stops a tenant until it is deployed again; its data stays."""
    return _act(access, Event.DEACTIVATE, work, state, platform, response)


def restore_tenant(
    access: TenantRemover, work: Work, state: State, platform: Platform, response: Response
) -> TenantRead:
    """Brings a deleted tenant back, with everything that was in it."""
    return _act(access, Event.RESTORE, work, state, platform, response)


def _act(
    access: TenantAccess, event: Event, work: Work, state: State, platform: Platform, response: Response
) -> TenantRead:
    operation = Tenants(work, platform, state.now()).act(access, event)
    work.session.flush()
    response.headers[OPERATION_HEADER] = str(operation.id)
    return read_tenants(work.session, [(access.tenant, access.organization)], platform.addresses)[0]


async def read_tenant_logs(
    access: TenantOperator,
    platform: Platform,
    lines: Annotated[int, Query(ge=1, le=MAX_LOG_LINES, description="How many, counted from the end.")] = 200,
) -> TenantLogs:
    """Returns the end of the log of a tenant's server."""
    try:
        return TenantLogs(lines=await platform.runtime.logs(str(access.tenant.id), lines))
    except RuntimeFailure as failure:
        if failure.code == "unknown":
            return TenantLogs(lines=[])
        raise Unavailable(f"The log cannot be read at the moment: {failure}") from failure


def report_status(server: ServerPrincipal) -> dict[str, str]:
    """Takes the sign of life that a ZenML server gives at its start (wire contract, 3.3): JSON, or the server ends."""
    return {"tenant_id": str(server.tenant_id)}


def _routes(noun: Literal["tenant", "workspace"]) -> APIRouter:
    """Returns the routes under one of the two names; newer ZenML calls a tenant a workspace."""
    made = APIRouter(prefix=f"/{noun}s", tags=[f"{noun}s"], route_class=TransactionRoute)
    acting = responses(Forbidden, Conflict)

    def add(method: str, path: str, function: Any, *, status: int = 200, errors: Any = None) -> None:
        made.add_api_route(
            path,
            function,
            methods=[method],
            status_code=status,
            responses=errors if errors is not None else acting,
            name=function.__name__.replace("tenant", noun),
        )

    add("GET", "", list_tenants)
    add("POST", "", create_tenant, status=201)
    members.add_routes(add)
    add("GET", "/{tenant}/logs", read_tenant_logs)
    add("PATCH", "/{tenant}/deploy", deploy_tenant)
    add("PATCH", "/{tenant}/deactivate", deactivate_tenant)
    add("POST", "/{tenant}/restore", restore_tenant)
    add("GET", "/{tenant}", read_tenant)
    add("PATCH", "/{tenant}", update_tenant)
    add("DELETE", "/{tenant}", delete_tenant)
    add("GET", "/{organization}/{name}", read_tenant_by_names)
    return made


router = APIRouter()
router.include_router(_routes("tenant"))
router.include_router(_routes("workspace"))
for _noun in ("tenant", "workspace"):
    router.add_api_route(
        f"/{_noun}_status", report_status, methods=["PATCH"], name=f"report_{_noun}_status", tags=["servers"]
    )
