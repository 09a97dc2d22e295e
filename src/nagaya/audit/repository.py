"""All SQL of the audit record."""

import datetime as dt
import uuid
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from nagaya.audit.models import AuditEvent


def events(
    db: Session,
    organization_id: uuid.UUID | None,
    *,
    before: int | None,
    limit: int,
    action: str | None = None,
    actor_id: uuid.UUID | None = None,
    tenant_id: uuid.UUID | None = None,
    target_id: str | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> Sequence[AuditEvent]:
    """Returns events, newest first.

    Args:
        db: A session.
        organization_id: The organization; None for the events of the platform itself.
        before: Only events with a smaller sequence.
        limit: Most events to return.
        action: Only this action, or all of one noun (`tenant.*`).
        actor_id: Only of this actor.
        tenant_id: Only of this tenant.
        target_id: Only on this target.
        since: Not older than this.
        until: Older than this.
    """
    statement = select(AuditEvent).where(AuditEvent.organization_id == organization_id)
    if before is not None:
        statement = statement.where(AuditEvent.sequence < before)
    if action is not None and action.endswith(".*"):
        statement = statement.where(AuditEvent.action.startswith(action[:-1], autoescape=True))
    elif action is not None:
        statement = statement.where(AuditEvent.action == action)
    if actor_id is not None:
        statement = statement.where(AuditEvent.actor_id == actor_id)
    if tenant_id is not None:
        statement = statement.where(AuditEvent.tenant_id == tenant_id)
    if target_id is not None:
        statement = statement.where(AuditEvent.target_id == target_id)
    if since is not None:
        statement = statement.where(AuditEvent.time >= since)
    if until is not None:
        statement = statement.where(AuditEvent.time < until)
    return db.scalars(statement.order_by(AuditEvent.sequence.desc()).limit(limit)).all()


def count(
    db: Session,
    action: str,
    outcome: str,
    since: dt.datetime,
    *,
    address: str | None = None,
    target_name: str | None = None,
    target_id: str | None = None,
) -> int:
    """Returns how often something happened lately, for throttling.

    Args:
        db: A session.
        action: The action.
        outcome: How it ended.
        since: From when to count.
        address: From where; None for anywhere.
        target_name: On what; None for anything.
        target_id: On what, by its id; None for anything.
    """
    statement = (
        select(func.count())
        .select_from(AuditEvent)
        .where(
            AuditEvent.time >= since,
            AuditEvent.action == action,
            AuditEvent.outcome == outcome,
        )
    )
    if address is not None:
        statement = statement.where(AuditEvent.address == address)
    if target_name is not None:
        statement = statement.where(AuditEvent.target_name == target_name)
    if target_id is not None:
        statement = statement.where(AuditEvent.target_id == target_id)
    return db.scalar(statement) or 0
