"""The audit record of an organization, newest first, by cursor."""

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Annotated

from fastapi import Depends, Query, Request, Response

from nagaya.access.policy import OrganizationAccess, organization_dependency
from nagaya.audit import repository
from nagaya.audit.models import AuditEvent
from nagaya.audit.schemas import AuditEventRead
from nagaya.db.base import as_utc
from nagaya.errors import Forbidden, responses
from nagaya.http.lists import DEFAULT_PAGE, MAX_PAGE
from nagaya.http.routing import Routes
from nagaya.http.transactions import TransactionRoute, Work

router = Routes(prefix="/organizations/{organization}", tags=["audit"], route_class=TransactionRoute)
Reader = Annotated[OrganizationAccess, Depends(organization_dependency("audit:read"))]
MAX_SEQUENCE = 2**63 - 1
Word = Annotated[str | None, Query(max_length=64, pattern=r"^[A-Za-z0-9_.*-]*$")]


@router.get("/audit_events", response_model=list[AuditEventRead], responses=responses(Forbidden))
def list_audit_events(
    request: Request,
    response: Response,
    work: Work,
    access: Reader,
    *,
    cursor: Annotated[int | None, Query(ge=1, le=MAX_SEQUENCE, description="From the `Link` of the last page.")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = DEFAULT_PAGE,
    action: Word = None,
    actor_id: uuid.UUID | None = None,
    tenant_id: uuid.UUID | None = None,
    target_id: Word = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> Sequence[AuditEvent]:
    """Lists the events of an organization; `action` may be one of `noun.verb` or `noun.*`."""
    rows = repository.events(
        work.session,
        access.id,
        before=cursor,
        limit=limit + 1,
        action=action,
        actor_id=actor_id,
        tenant_id=tenant_id,
        target_id=target_id,
        since=as_utc(since),
        until=as_utc(until),
    )
    if len(rows) > limit:
        rows = rows[:limit]
        url = request.url.include_query_params(cursor=rows[-1].sequence, limit=limit)
        response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
    return rows
