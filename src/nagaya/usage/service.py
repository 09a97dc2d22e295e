"""Rules of usage: every resource counts once, and tenants are told when a limit is reached."""

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from nagaya import audit
from nagaya.access import changes
from nagaya.http.transactions import UnitOfWork
from nagaya.tenants.models import Tenant
from nagaya.usage import repository
from nagaya.usage.limits import exhausted
from nagaya.usage.models import UsageCount, UsageRecord
from nagaya.usage.repository import Counts


@dataclass(frozen=True, slots=True)
class Report:
    """That a resource was made or deleted.

    Args:
        feature: `project`, `pipeline`, `pipeline_run`, `model`, …
        resource_id: Its id.
        removed: Whether it was deleted.
    """

    feature: str
    resource_id: str
    removed: bool


def take_in(work: UnitOfWork, tenant: Tenant, reports: Sequence[Report], now: dt.datetime) -> list[bool]:
    """Counts resources, each once however often it is reported; a deleted one never counts again.

    ZenML reports a run twice, as a placeholder and as the real one, and repeats what was not answered in time (wire
    contract, 6.2).

    Args:
        work: Unit of work.
        tenant: The tenant, locked for the transaction: reports of one tenant are counted one after the other.
        reports: What happened, in order.
        now: Current time.

    Returns:
        Whether each report changed a count.
    """
    session = work.session
    known = repository.records(session, tenant.id, {(each.feature, each.resource_id) for each in reports})
    moved: Counts = defaultdict(int)
    changed = []
    for report in reports:
        key = (report.feature, report.resource_id)
        row = known.get(key)
        counted = row is not None and row.removed is None
        if row is None:
            # Also for one that was deleted before it was heard of: the report of its making may come late.
            row = known[key] = UsageRecord(tenant_id=tenant.id, feature=report.feature, resource_id=report.resource_id)
            row.removed = now if report.removed else None
            session.add(row)
        elif report.removed and counted:
            row.removed = now
        step = int(row.removed is None) - int(counted)
        moved[report.feature] += step
        changed.append(step != 0)
    _add(work, tenant, {feature: step for feature, step in moved.items() if step})
    return changed


def _add(work: UnitOfWork, tenant: Tenant, moved: Counts) -> None:
    """Moves the counts of a tenant and, if a limit is crossed by that, tells the tenants concerned."""
    if not moved:
        return
    session = work.session
    before = exhausted(session, {tenant.id: tenant.organization_id})
    for feature, step in moved.items():
        row = repository.count(session, tenant.id, feature)
        if row is None:
            row = UsageCount(tenant_id=tenant.id, feature=feature, organization_id=tenant.organization_id, used=0)
            session.add(row)
        row.used = max(0, row.used + step)
    session.flush()
    if exhausted(session, {tenant.id: tenant.organization_id}) != before:
        # The limit may be the organization's, which concerns all its tenants.
        changes.organization_changed(work, tenant.organization_id)


def set_limits(work: UnitOfWork, organization_id: uuid.UUID, tenant: Tenant | None, wanted: Counts, name: str) -> None:
    """Replaces the limits of an organization or of one of its tenants.

    Args:
        work: Unit of work.
        organization_id: The organization.
        tenant: The tenant, if the limits are its own.
        wanted: Most resources by feature; features that are left out have no limit.
        name: What people call the place.
    """
    place_id = organization_id if tenant is None else tenant.id
    repository.replace_limits(work.session, organization_id, place_id, wanted)
    audit.record(
        work,
        "limits.update",
        audit.Target("organization" if tenant is None else "tenant", place_id, name),
        organization_id=organization_id,
        tenant_id=None if tenant is None else tenant.id,
        details={"limits": wanted},
    )
    if tenant is None:
        changes.organization_changed(work, organization_id)
    else:
        changes.tenant_changed(work, tenant.id)
