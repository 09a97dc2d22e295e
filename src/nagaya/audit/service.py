"""Writes audit events, in the transaction of the change that they tell of."""

import uuid
from dataclasses import dataclass
from typing import Any, Literal

from nagaya.audit.models import AuditEvent
from nagaya.http.transactions import UnitOfWork

Outcome = Literal["success", "denied", "failure", "unknown"]


@dataclass(frozen=True)
class Target:
    """What was acted upon.

    Args:
        kind: Noun, e.g. `tenant`.
        id: Its id.
        name: Its name at that time.
    """

    kind: str
    id: uuid.UUID | str
    name: str = ""


def record(
    work: UnitOfWork,
    action: str,
    target: Target,
    *,
    organization_id: uuid.UUID | None = None,
    tenant_id: uuid.UUID | None = None,
    outcome: Outcome = "success",
    reason: str = "",
    details: dict[str, Any] | None = None,
) -> None:
    """Adds an event to the transaction of `work`; both become durable or neither.

    Args:
        work: The unit of work, which knows who acts and from where.
        action: `noun.verb`, e.g. `tenant.create`.
        target: What was acted upon.
        organization_id: The organization that may read the event.
        tenant_id: The tenant concerned.
        outcome: How it ended.
        reason: Why, for `denied` and `failure`.
        details: Names of changed fields and other facts. Never secrets.
    """
    origin = work.origin
    work.session.add(
        AuditEvent(
            organization_id=organization_id,
            tenant_id=tenant_id,
            actor_id=origin.actor_id,
            actor_kind=origin.actor_kind,
            actor_name=origin.actor_name[:64],
            action=action,
            target_kind=target.kind,
            target_id=str(target.id),
            target_name=target.name[:200],
            outcome=outcome,
            reason=reason,
            request_id=origin.request_id,
            address=origin.address,
            details=details or {},
        )
    )
