"""Takes what the runtime reports about tenants into the database, and ends operations that it completes."""

import datetime as dt
import uuid
from contextlib import suppress
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from nagaya import audit
from nagaya.http.transactions import UnitOfWork
from nagaya.operations import service as operations
from nagaya.organizations.models import Organization
from nagaya.runtime.interface import TenantState
from nagaya.tenants.lifecycle import SETTLED, STORED, Event, State, observe, state_of
from nagaya.tenants.models import Tenant

ACTIVITIES: Final = {
    "awake": "awake",
    "asleep": "asleep",
    "starting": "waking",
    "stopping": "stopping",
    "stopped": "stopped",
    "failed": "failed",
    "deleted": "stopped",
}
"""The word that people see for each state of the runtime."""
_EVENTS: Final = {
    "awake": Event.READY,
    "failed": Event.SPAWN_FAILED,
    "stopped": Event.STOPPED,
    "deleted": Event.REMOVED,
}
LAST_ACTIVITY_GRAIN: Final = dt.timedelta(seconds=30)
"""`last_activity` is written again only if it moved by this much: it is for people."""


def event_of(state: TenantState) -> Event | None:
    """Returns what a report of the runtime means for the life of the tenant; None if nothing."""
    return _EVENTS.get(state.state)


def relevant(session: Session, states: list[TenantState]) -> list[TenantState]:
    """Returns the reports that could change anything; most only repeat what is known, above all after a restart."""
    with_ids: dict[uuid.UUID, TenantState] = {}
    for state in states:
        with suppress(ValueError):
            with_ids[uuid.UUID(state.id)] = state
    known = session.scalars(select(Tenant).where(Tenant.id.in_(with_ids)))
    return [with_ids[tenant.id] for tenant in known if _matters(tenant, with_ids[tenant.id])]


def _matters(tenant: Tenant, state: TenantState) -> bool:
    if _outdated(tenant, state):
        return False
    if tenant.status == "pending" or tenant.activity != ACTIVITIES.get(state.state) or state.state == "failed":
        return True
    moves = (event := event_of(state)) is not None and state.generation >= tenant.generation
    if moves and event is not None and observe(known := state_of(tenant.desired_state, tenant.status), event) != known:
        return True
    return _moved(tenant, state)


def take_in(work: UnitOfWork, state: TenantState, now: dt.datetime) -> bool:
    """Writes a report of the runtime.

    Args:
        work: Unit of work of the platform itself.
        state: The report.
        now: Current time.

    Returns:
        Whether anything changed.
    """
    try:
        tenant_id = uuid.UUID(state.id)
    except ValueError:
        return False
    tenant = work.session.get(Tenant, tenant_id, with_for_update=True)
    if tenant is None or _outdated(tenant, state):
        return False
    changed = _note_activity(tenant, state)
    # A report about an older specification is stale: the runtime has yet to hear what is wanted now.
    if state.generation < tenant.generation:
        return changed
    event = event_of(state)
    if event is None:
        if state.state == "starting":
            changed |= _enter(work.session, tenant, "spawning", now)
        return changed
    return move(work, tenant, event, state.reason or "", now) or changed


def move(work: UnitOfWork, tenant: Tenant, event: Event, reason: str, now: dt.datetime) -> bool:
    """Moves a tenant on after something that the runtime did.

    Args:
        work: Unit of work of the platform itself.
        tenant: The tenant.
        event: What happened.
        reason: Why, if it failed.
        now: Current time.

    Returns:
        Whether anything changed.
    """
    before = state_of(tenant.desired_state, tenant.status)
    after = observe(before, event)
    if after is before and not (after is State.FAILED and reason and reason != tenant.status_reason):
        return False
    tenant.desired_state, tenant.status = STORED[after]
    tenant.status_reason = reason if after is State.FAILED else ""
    tenant.status_changed = now
    if after in SETTLED:
        tenant.lease_owner = tenant.lease_until = None
        for operation in operations.unfinished(work.session, tenant.id):
            if after is State.FAILED:
                operations.finish(operation, "failed", now, reason or "The tenant did not start.")
            else:
                operations.finish(operation, "succeeded", now)
    if after is not before:
        organization = work.session.get(Organization, tenant.organization_id)
        audit.record(
            work,
            f"tenant.{event.value}",
            audit.Target("tenant", tenant.id, f"{organization.name if organization else ''}/{tenant.name}"),
            organization_id=tenant.organization_id,
            tenant_id=tenant.id,
            outcome="failure" if after is State.FAILED else "success",
            reason=tenant.status_reason,
        )
    return True


def _outdated(tenant: Tenant, state: TenantState) -> bool:
    """Whether a report is about a specification that the runtime itself has replaced since."""
    return tenant.purged is not None or state.generation < tenant.applied_generation


def _note_activity(tenant: Tenant, state: TenantState) -> bool:
    changed = False
    activity = ACTIVITIES.get(state.state, state.state[:20])
    if tenant.activity != activity:
        tenant.activity = activity
        changed = True
    if state.last_activity is not None and _moved(tenant, state):
        tenant.last_activity = dt.datetime.fromtimestamp(state.last_activity, dt.UTC)
        changed = True
    return changed


def _moved(tenant: Tenant, state: TenantState) -> bool:
    if state.last_activity is None:
        return False
    last = dt.datetime.fromtimestamp(state.last_activity, dt.UTC)
    return tenant.last_activity is None or last - tenant.last_activity >= LAST_ACTIVITY_GRAIN


def _enter(session: Session, tenant: Tenant, phase: str, now: dt.datetime) -> bool:
    changed = False
    for operation in operations.unfinished(session, tenant.id):
        before = operation.phases
        operations.enter(operation, phase, now)
        changed |= operation.phases is not before
    return changed
