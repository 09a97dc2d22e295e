"""All SQL of usage."""

import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable

from sqlalchemy import Select, delete, func, select
from sqlalchemy.orm import Session

from nagaya.access.reach import AccessibleOrganizationId
from nagaya.tenants.models import Tenant
from nagaya.usage.models import UsageCount, UsageLimit, UsageRecord

Counts = dict[str, int]
IDS_AT_ONCE = 500
"""Values in one IN: well below what the drivers accept."""


def records(
    session: Session, tenant_id: uuid.UUID, keys: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], UsageRecord]:
    """Returns what is known of resources of a tenant, by feature and id of the resource.

    Args:
        session: Database session.
        tenant_id: The tenant.
        keys: Feature and id of each resource.
    """
    found: dict[tuple[str, str], UsageRecord] = {}
    ids = sorted({resource for _feature, resource in keys})
    for start in range(0, len(ids), IDS_AT_ONCE):
        statement = select(UsageRecord).where(
            UsageRecord.tenant_id == tenant_id, UsageRecord.resource_id.in_(ids[start : start + IDS_AT_ONCE])
        )
        found.update({(row.feature, row.resource_id): row for row in session.scalars(statement)})
    return found


def count(session: Session, tenant_id: uuid.UUID, feature: str) -> UsageCount | None:
    """Returns the count of one feature of a tenant, if anything of it was ever reported."""
    return session.get(UsageCount, (tenant_id, feature))


def counts(session: Session, tenant_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Counts]:
    """Returns what each tenant uses, by feature; what it does not use any more is left out."""
    found: dict[uuid.UUID, Counts] = defaultdict(dict)
    ids = list(tenant_ids)
    for start in range(0, len(ids), IDS_AT_ONCE):
        statement = (
            select(UsageCount.tenant_id, UsageCount.feature, UsageCount.used)
            .where(UsageCount.tenant_id.in_(ids[start : start + IDS_AT_ONCE]), UsageCount.used > 0)
            .order_by(UsageCount.feature)
        )
        for tenant_id, feature, used in session.execute(statement):
            found[tenant_id][feature] = used
    return found


def organization_counts(session: Session, organization_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Counts]:
    """Returns what the living tenants of organizations use together, by feature."""
    statement = (
        select(UsageCount.organization_id, UsageCount.feature, func.sum(UsageCount.used))
        .join(Tenant, Tenant.id == UsageCount.tenant_id)
        .where(UsageCount.organization_id.in_(organization_ids), Tenant.purged.is_(None))
        .group_by(UsageCount.organization_id, UsageCount.feature)
        .order_by(UsageCount.feature)
    )
    found: dict[uuid.UUID, Counts] = defaultdict(dict)
    for organization_id, feature, used in session.execute(statement):
        if used:
            found[organization_id][feature] = int(used)
    return found


def listing(organization_id: AccessibleOrganizationId) -> Select[Tenant]:
    """Returns the SELECT of the tenants of an organization whose usage is shown, by name."""
    return (
        select(Tenant)
        .where(Tenant.organization_id == organization_id, Tenant.purged.is_(None))
        .order_by(Tenant.name, Tenant.id)
    )


def limits(session: Session, place_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Counts]:
    """Returns the limits of organizations or tenants, by feature."""
    found: dict[uuid.UUID, Counts] = defaultdict(dict)
    ids = list(place_ids)
    for start in range(0, len(ids), IDS_AT_ONCE):
        statement = (
            select(UsageLimit.place_id, UsageLimit.feature, UsageLimit.maximum)
            .where(UsageLimit.place_id.in_(ids[start : start + IDS_AT_ONCE]))
            .order_by(UsageLimit.feature)
        )
        for place_id, feature, maximum in session.execute(statement):
            found[place_id][feature] = maximum
    return found


def replace_limits(session: Session, organization_id: uuid.UUID, place_id: uuid.UUID, wanted: Counts) -> None:
    """Replaces all limits of an organization or a tenant; the caller commits."""
    session.execute(delete(UsageLimit).where(UsageLimit.place_id == place_id))
    session.add_all(
        UsageLimit(place_id=place_id, feature=feature, organization_id=organization_id, maximum=maximum)
        for feature, maximum in wanted.items()
    )
    session.flush()
