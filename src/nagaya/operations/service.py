"""Rules of operations: how one begins, moves through its phases and ends."""

import datetime as dt
import uuid
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, object_session

from nagaya.http.transactions import UnitOfWork
from nagaya.metrics import api as metrics
from nagaya.operations.models import Operation
from nagaya.tenants.models import Tenant

PHASES: dict[str, tuple[str, ...]] = {
    "create": ("queued", "sealed", "spawning", "ready"),
    "enroll": ("queued", "reported"),
    "deploy": ("queued", "sealed", "spawning", "ready"),
    "restore": ("queued", "sealed", "spawning", "ready"),
    "deactivate": ("queued", "stopping", "stopped"),
    "delete": ("queued", "stopping", "removed"),
}
"""The phases of each kind of operation, in order."""
OPEN = ("pending", "running")


def begin(
    work: UnitOfWork, tenant: Tenant, kind: str, principal_id: uuid.UUID, now: dt.datetime, *, key: str | None = None
) -> Operation:
    """Starts an operation on a tenant; whatever was under way there is cancelled by it.

    Args:
        work: Unit of work of the request.
        tenant: The tenant.
        kind: One of `PHASES`.
        principal_id: Who asked.
        now: Current time.
        key: Idempotency key of the request.
    """
    for earlier in unfinished(work.session, tenant.id):
        finish(earlier, "cancelled", now, f"Superseded by a later request to {kind} the tenant.")
    phases: list[dict[str, Any]] = [
        {"name": name, "status": "pending", "started": None, "finished": None, "message": ""} for name in PHASES[kind]
    ]
    operation = Operation(
        organization_id=tenant.organization_id,
        tenant_id=tenant.id,
        principal_id=principal_id,
        kind=kind,
        status="pending",
        phases=phases,
        idempotency_key=key,
        request_id=work.origin.request_id,
    )
    work.session.add(operation)
    work.session.flush()
    enter(operation, "queued", now)
    operation.status = "pending"
    return operation


def unfinished(session: Session, tenant_id: uuid.UUID) -> list[Operation]:
    """Returns the operations on a tenant that have not ended, oldest first; normally one at most."""
    statement = select(Operation).where(Operation.tenant_id == tenant_id, Operation.status.in_(OPEN))
    return list(session.scalars(statement.order_by(Operation.created, Operation.id)))


def enter(operation: Operation, phase: str, now: dt.datetime, message: str = "") -> None:
    """Moves an operation to a phase; the phases before it are finished. Going back or staying changes nothing.

    Args:
        operation: The operation.
        phase: Name of one of its phases.
        now: Current time.
        message: A sentence to show beside the phase.
    """
    phases = [dict(each) for each in operation.phases]
    index = next((at for at, each in enumerate(phases) if each["name"] == phase), None)
    if index is None or phases[index]["status"] != "pending":
        return
    stamp = now.isoformat()
    for earlier in phases[:index]:
        if earlier["status"] != "succeeded":
            earlier.update(status="succeeded", started=earlier["started"] or stamp, finished=stamp)
    phases[index].update(status="running", started=stamp, message=message)
    operation.phases = phases
    operation.status = "running"


def finish(operation: Operation, status: str, now: dt.datetime, error: str | None = None) -> None:
    """Ends an operation; one that has ended stays as it is.

    Args:
        operation: The operation.
        status: `succeeded`, `failed` or `cancelled`.
        now: Current time.
        error: Why, unless it succeeded.
    """
    if operation.status not in OPEN:
        return
    stamp = now.isoformat()
    phases = [dict(each) for each in operation.phases]
    for phase in phases:
        if status == "succeeded" and phase["status"] != "succeeded":
            phase.update(status="succeeded", started=phase["started"] or stamp, finished=stamp)
        elif phase["status"] == "running":
            phase.update(status=status, finished=stamp, message=error or "")
        elif phase["status"] == "pending":
            phase.update(status="cancelled")
    operation.phases = phases
    operation.status = status
    operation.error = error
    operation.finished = now
    metrics.operation_ended(object_session(operation), operation, now)
