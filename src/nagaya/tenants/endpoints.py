"""HTTP: tenants, under `/tenants` and, for newer ZenML clients, the same functions under `/workspaces`."""

import datetime as dt
from typing import Annotated, Any, Literal

from fastapi import Header, Path, Query, Request, Response

from nagaya import audit
from nagaya.access.policy import (
    TenantAccess,
    TenantEditor,
    TenantOperator,
    TenantReader,
    TenantRemover,
    ambiguous,
    only_organization,
    reach_organization,
    reach_tenant,
)
from nagaya.access.reach import tenants_of
from nagaya.errors import Conflict, Forbidden, InvalidInput, Unavailable, responses
from nagaya.http.lists import Paging
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import Db, TransactionRoute, Work, origin_of, transact
from nagaya.identity.policy import CurrentPrincipal, ServerPrincipal
from nagaya.runtime.interface import RuntimeFailure
from nagaya.tenants import enrollment, members, releases, repository
from nagaya.tenants.lifecycle import Event
from nagaya.tenants.platform import Platform
from nagaya.tenants.reading import read_tenants
from nagaya.tenants.schemas import (
    EnrollmentKeyRead,
    KeyRotation,
    TenantCreate,
    TenantCreated,
    TenantLogs,
    TenantRead,
    TenantUpdate,
)
from nagaya.tenants.service import Tenants
from nagaya.tenants.spec import Addresses

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
    search: Annotated[Filter, Query(description="Part of name, display name or description.")] = None,
    q: Annotated[Filter, Query(description="Another name of `search`.")] = None,
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
        search=q if search is None else search,
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
    enroll: Annotated[bool, Query(description="Only register a server that runs elsewhere, and get its key.")] = False,
    idempotency_key: Key = None,
) -> TenantCreated:
    """Creates a tenant. Answers at once with `status: pending`; the header names the operation to follow.

    With `enroll` the platform runs no server. The answer holds, this once, the key with which one that runs elsewhere
    signs in; the tenant is pending until it does. A repeated request with the same idempotency key gets a new key as
    long as no server has used the first.
    """
    now = state.now()
    wanted = body.organization or only_organization(work.session, principal, now)
    access = reach_organization(work.session, principal, wanted, now)
    access.standing.require("tenant:create")
    if enroll and not (principal.superuser or state.settings.enrollment == "organizations"):
        raise Forbidden("Only superusers enroll servers here (NAGAYA_ENROLLMENT).")
    tenant, operation = Tenants(work, platform, now).create(access, body, key=idempotency_key, enroll=enroll)
    key = None
    if enroll and tenant.last_seen is None:
        key = enrollment.rotate(work.session, state.keys, tenant, principal.id, now=now, overlap=dt.timedelta())
    response.headers[OPERATION_HEADER] = str(operation.id)
    response.headers["Cache-Control"] = "no-store"
    made = read_tenants(work.session, [(tenant, access.organization)], platform.addresses)[0]
    environment = None
    if key is not None:
        environment = enrollment.environment(tenant, access.organization, platform.addresses, key)
    return TenantCreated(**made.model_dump(), enrollment_key=key, environment=environment)


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


def rotate_enrollment_key(
    access: TenantOperator, body: KeyRotation, work: Work, state: State, response: Response
) -> EnrollmentKeyRead:
    """Makes a new enrollment key; the one until now, and all that came out of it, ends now or after the overlap."""
    tenant = access.tenant
    if not tenant.enrolled or tenant.desired_state == "deleted":
        raise Conflict(f"{access.name} has no enrollment key: its server is not one that runs elsewhere.")
    overlap = dt.timedelta(seconds=body.overlap_seconds)
    key = enrollment.rotate(
        work.session, state.keys, tenant, access.standing.principal.id, now=state.now(), overlap=overlap
    )
    audit.record(
        work,
        "enrollment_key.rotate",
        audit.Target("tenant", tenant.id, access.name),
        organization_id=access.organization_id,
        tenant_id=access.id,
        details={"overlap_seconds": body.overlap_seconds},
    )
    response.headers["Cache-Control"] = "no-store"
    return EnrollmentKeyRead(
        tenant_id=tenant.id,
        enrollment_key=key,
        environment={enrollment.KEY_VARIABLE: key},
    )


async def read_tenant_logs(
    access: TenantOperator,
    platform: Platform,
    lines: Annotated[int, Query(ge=1, le=MAX_LOG_LINES, description="How many, counted from the end.")] = 200,
) -> TenantLogs:
    """Returns the end of the log of a tenant's server."""
    if access.tenant.enrolled:
        raise Conflict(f"The server of {access.name} runs elsewhere, and so its log is there.")
    try:
        return TenantLogs(lines=await platform.runtime.logs(str(access.tenant.id), lines))
    except RuntimeFailure as failure:
        if failure.code == "unknown":
            return TenantLogs(lines=[])
        raise Unavailable(f"The log cannot be read at the moment: {failure}") from failure


async def report_status(server: ServerPrincipal, request: Request, state: State) -> dict[str, str]:
    """Takes the sign of life that a ZenML server gives at its start (wire contract, 3.3): JSON, or the server ends.

    What it says of itself is in headers. A server from outside whose version or address cannot be used gets the reason.
    """
    if server.enrolled:
        report, now = enrollment.Report.from_headers(request.headers), state.now()
        addresses = Addresses.of(state.settings)
        refusal = await transact(
            state,
            origin_of(request),
            lambda work: enrollment.take_report(work, server.tenant_id, report, addresses, now),
        )
        if refusal:
            raise Forbidden(refusal)
    return {"tenant_id": str(server.tenant_id)}


def _operation_name(function: str, noun: str) -> str:
    """Returns the name of an operation, which has to differ between the two nouns."""
    return function.replace("tenant", noun) if "tenant" in function else f"{function}_of_{noun}"


def _routes(noun: Literal["tenant", "workspace"]) -> Routes:
    """Returns the routes under one of the two names; newer ZenML calls a tenant a workspace."""
    made = Routes(prefix=f"/{noun}s", tags=[f"{noun}s"], route_class=TransactionRoute)
    acting = responses(Forbidden, Conflict)

    def add(method: str, path: str, function: Any, *, status: int = 200, errors: Any = None) -> None:
        made.add_api_route(
            path,
            function,
            methods=[method],
            status_code=status,
            responses=errors if errors is not None else acting,
            name=_operation_name(function.__name__, noun),
        )

    add("GET", "", list_tenants)
    add("POST", "", create_tenant, status=201)
    members.add_routes(add)
    add("GET", "/{tenant}/logs", read_tenant_logs)
    add("POST", "/{tenant}/enrollment_key", rotate_enrollment_key, status=201)
    add("PATCH", "/{tenant}/deploy", deploy_tenant)
    add("PATCH", "/{tenant}/deactivate", deactivate_tenant)
    add("POST", "/{tenant}/restore", restore_tenant)
    add("GET", "/{tenant}", read_tenant)
    add("PATCH", "/{tenant}", update_tenant)
    add("DELETE", "/{tenant}", delete_tenant)
    add("GET", "/{organization}/{name}", read_tenant_by_names)
    return made


router = Routes()
router.include(_routes("tenant"))
router.include(_routes("workspace"))
router.include(releases.router)
for _noun in ("tenant", "workspace"):
    router.add_api_route(
        f"/{_noun}_status",
        report_status,
        methods=["PATCH"],
        name=f"report_{_noun}_status",
        tags=["servers"],
        responses=responses(Forbidden),
    )
