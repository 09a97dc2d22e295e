"""Ends a tenant for good: its roles and shares go, its row stays as a tombstone that no longer holds the name."""

import datetime as dt
import uuid

from sqlalchemy import delete, select

from nagaya import audit
from nagaya.access import changes
from nagaya.access.models import RoleAssignment, Share
from nagaya.db.engine import Database
from nagaya.http.transactions import UnitOfWork
from nagaya.tenants.lifecycle import STORED, Event, State, follow, state_of
from nagaya.tenants.models import EnrollmentKey, Tenant
from nagaya.tenants.secrets import COLUMNS
from nagaya.usage.models import UsageCount, UsageLimit, UsageRecord


def mark_purged(database: Database, tenant_id: uuid.UUID, now: dt.datetime) -> None:
    """Writes that nothing is left of a tenant in the runtime. Does nothing if that was written before.

    Args:
        database: The control database.
        tenant_id: A deleted tenant.
        now: Current time.
    """
    with UnitOfWork(database) as work:
        tenant = work.session.get(Tenant, tenant_id, with_for_update=True)
        if tenant is None or tenant.purged is not None:
            return
        name = tenant.name
        follow(state_of(tenant.desired_state, tenant.status), Event.PURGE, name)
        tenant.desired_state, tenant.status = STORED[State.PURGED]
        tenant.purged = tenant.status_changed = now
        tenant.lease_owner = tenant.lease_until = None
        # A slug never begins with a tilde: the name is free again and cannot clash.
        tenant.name = f"~{tenant.id.hex[:28]}"
        for column in COLUMNS.values():
            setattr(tenant, column, "")
        work.session.execute(delete(RoleAssignment).where(RoleAssignment.tenant_id == tenant_id))
        work.session.execute(delete(Share).where(Share.tenant_id == tenant_id))
        work.session.execute(delete(EnrollmentKey).where(EnrollmentKey.tenant_id == tenant_id))
        _forget_usage(work, tenant)
        audit.record(
            work,
            "tenant.purge",
            audit.Target("tenant", tenant_id, name),
            organization_id=tenant.organization_id,
            tenant_id=tenant_id,
        )


def _forget_usage(work: UnitOfWork, tenant: Tenant) -> None:
    """Removes what the tenant used; the others of its organization may have more by that."""
    for table in (UsageRecord, UsageCount):
        work.session.execute(delete(table).where(table.tenant_id == tenant.id))
    work.session.execute(delete(UsageLimit).where(UsageLimit.place_id == tenant.id))
    limited = select(UsageLimit.place_id).where(UsageLimit.place_id == tenant.organization_id).limit(1)
    if work.session.scalar(limited) is not None:
        changes.organization_changed(work, tenant.organization_id)
