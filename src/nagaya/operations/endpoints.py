"""HTTP: operations, to poll or to follow as server-sent events."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import Query
from fastapi.responses import StreamingResponse

from nagaya.access.policy import reach_organization, reach_tenant
from nagaya.access.reach import tenants_of
from nagaya.db.engine import Database
from nagaya.http.lists import Paging
from nagaya.http.routing import Routes
from nagaya.http.state import State
from nagaya.http.transactions import Db, TransactionRoute
from nagaya.identity.policy import CurrentPrincipal
from nagaya.operations import repository
from nagaya.operations.models import Operation
from nagaya.operations.policy import ReadableOperation
from nagaya.operations.schemas import OperationRead
from nagaya.operations.service import OPEN

POLL_SECONDS = 0.2
KEEP_ALIVE_POLLS = 75

router = Routes(prefix="/operations", tags=["operations"], route_class=TransactionRoute)
Filter = Annotated[str | None, Query(max_length=64)]


@router.get("")
def list_operations(
    principal: CurrentPrincipal,
    db: Db,
    state: State,
    page: Paging,
    organization: Filter = None,
    tenant: Filter = None,
    status: Literal["pending", "running", "succeeded", "failed", "cancelled"] | None = None,
) -> list[OperationRead]:
    """Lists operations on tenants that the caller may know of, the latest first."""
    now = state.now()
    statement = repository.listing(
        tenants_of(principal, now),
        organization_id=None if organization is None else reach_organization(db, principal, organization, now).id,
        tenant_id=None if tenant is None else reach_tenant(db, principal, tenant, now).id,
        status=status,
    )
    return [OperationRead.model_validate(row) for row in page.fetch(db, statement)]


@router.get("/{operation_id}")
def read_operation(operation: ReadableOperation) -> OperationRead:
    """Returns an operation."""
    return OperationRead.model_validate(operation)


@router.get("/{operation_id}/events", response_class=StreamingResponse)
def follow_operation(operation: ReadableOperation, state: State) -> StreamingResponse:
    """Streams an operation as server-sent events `operation`, at each change, until it has finished."""
    return StreamingResponse(
        _events(state.database, operation.id),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(database: Database, operation_id: uuid.UUID) -> AsyncIterator[str]:
    def read() -> OperationRead | None:
        with database.read() as session:
            operation = session.get(Operation, operation_id)
            return None if operation is None else OperationRead.model_validate(operation)

    last: str | None = None
    silent = 0
    while (operation := await asyncio.to_thread(read)) is not None:
        current = operation.model_dump_json()
        if current != last:
            last, silent = current, 0
            yield f"event: operation\ndata: {current}\n\n"
        if operation.status not in OPEN:
            return
        silent += 1
        if silent % KEEP_ALIVE_POLLS == 0:
            yield ": keep-alive\n\n"
        await asyncio.sleep(POLL_SECONDS)
