"""All SQL of tenants."""

import datetime as dt
import uuid
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, update
from sqlalchemy.orm import Session, defer

from nagaya.access.reach import AccessibleOrganizationId, TenantReach
from nagaya.db.search import contains
from nagaya.operations.models import Operation
from nagaya.organizations.models import Organization
from nagaya.tenants.models import Tenant
from nagaya.tenants.spec import Addresses

Row = tuple[Tenant, Organization]
_NOT_SHOWN = tuple(
    map(
        defer,
        (
            *(Tenant.jwt_secret, Tenant.secrets_store_key, Tenant.channel_token, Tenant.client_secret),
            *(Tenant.lease_owner, Tenant.lease_until, Tenant.project_id, Tenant.system_user_id),
            *(Tenant.poll_failures, Tenant.next_poll, Tenant.purged, Tenant.deleted),
        ),
    )
)
"""What lists do without: a third of the columns, and most of the bytes."""


@dataclass(frozen=True, slots=True)
class Latest:
    """What is shown of a tenant's latest operation."""

    id: uuid.UUID
    kind: str
    status: str
    error: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Filters:
    """Filters of a list of tenants; `None` leaves a filter out."""

    name: str | None = None
    url: str | None = None
    organization_id: AccessibleOrganizationId | None = None
    status: str | None = None
    stage: str | None = None
    label: tuple[str, str] | None = None
    search: str | None = None


def listing(reach: TenantReach, filters: Filters, addresses: Addresses) -> Select[Tenant, Organization]:
    """Returns the SELECT of the tenants in reach, by organization and name.

    Args:
        reach: What the caller may know of.
        filters: Which of them. Deleted ones are shown only if the filter asks for that status.
        addresses: Where things are reached, for the filter by address.
    """
    statement = (
        select(Tenant, Organization)
        .join(Organization, Organization.id == Tenant.organization_id)
        .where(reach.clause)
        .order_by(Organization.name, Tenant.name)
    )
    conditions: list[ColumnElement[bool]] = []
    if filters.status is None:
        conditions.append(Tenant.desired_state != "deleted")
    else:
        conditions.append(Tenant.status == filters.status)
    if filters.name is not None:
        conditions.append(by_name(filters.name))
    if filters.url is not None:
        conditions.append(_by_url(filters.url, addresses))
    if filters.organization_id is not None:
        conditions.append(Tenant.organization_id == filters.organization_id)
    if filters.stage is not None:
        conditions.append(Tenant.stage == filters.stage)
    if filters.label is not None:
        key, value = filters.label
        conditions.append(Tenant.labels[key].as_string() == value)
    if filters.search is not None:
        conditions.append(contains(filters.search, Tenant.name, Tenant.display_name, Tenant.description))
    return statement.where(*conditions)


def by_name(name: str) -> ColumnElement[bool]:
    """Returns the condition that a tenant has a name, or an `organization/name`."""
    organization, slash, tenant = name.rpartition("/")
    if not slash:
        return Tenant.name == name
    return and_(Organization.name == organization, Tenant.name == tenant)


def _by_url(url: str, addresses: Addresses) -> ColumnElement[bool]:
    found = addresses.split_url(url)
    if found is None:
        return Tenant.server_url == url.rstrip("/")
    return and_(Organization.name == found[0], Tenant.name == found[1], Tenant.enrolled.is_(False))


def page(session: Session, statement: Select[Tenant, Organization], offset: int, limit: int) -> tuple[int, list[Row]]:
    """Runs a SELECT of `listing` for one page.

    The page is found by ids alone, which indexes hold; whole rows are read only of those that are shown.

    Returns:
        The number of all rows, and the rows of the page.
    """
    total = session.scalar(statement.with_only_columns(func.count()).order_by(None)) or 0
    found = session.scalars(statement.with_only_columns(Tenant.id).offset(offset).limit(limit)).all()
    rows = select(Tenant, Organization).join(Organization, Organization.id == Tenant.organization_id)
    rows = rows.options(*_NOT_SHOWN)
    by_id = {row[0].id: (row[0], row[1]) for row in session.execute(rows.where(Tenant.id.in_(found)))}
    return total, [by_id[each] for each in found if each in by_id]


def find(session: Session, reach: TenantReach, id_or_name: str) -> list[Row]:
    """Returns the tenants in reach that an id, a name or `organization/name` means; deleted ones only if no other."""
    try:
        condition = Tenant.id == uuid.UUID(id_or_name)
    except ValueError:
        condition = by_name(id_or_name)
    statement = select(Tenant, Organization).join(Organization, Organization.id == Tenant.organization_id)
    rows = [(row[0], row[1]) for row in session.execute(statement.where(reach.clause, condition))]
    living = [row for row in rows if row[0].desired_state != "deleted"]
    return living or rows


def with_organization(session: Session, tenant_id: uuid.UUID) -> Row | None:
    """Returns a tenant and its organization, for the platform's own background work."""
    statement = select(Tenant, Organization).join(Organization, Organization.id == Tenant.organization_id)
    row = session.execute(statement.where(Tenant.id == tenant_id)).first()
    return None if row is None else (row[0], row[1])


def holder_of_name(session: Session, organization_id: uuid.UUID, name: str) -> Tenant | None:
    """Returns the tenant, deleted or not, that has a name in an organization."""
    return session.scalar(select(Tenant).where(Tenant.organization_id == organization_id, Tenant.name == name))


def latest_operations(session: Session, tenant_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Latest]:
    """Returns what is shown of the latest operation of each of the tenants that ever had one."""
    ranked = (
        select(
            *(Operation.tenant_id, Operation.id, Operation.kind, Operation.status, Operation.error),
            func.row_number()
            .over(partition_by=Operation.tenant_id, order_by=(Operation.created.desc(), Operation.id))
            .label("place"),
        )
        .where(Operation.tenant_id.in_(tenant_ids))
        .subquery()
    )
    latest = session.execute(select(ranked).where(ranked.c.place == 1))
    return {each.tenant_id: Latest(each.id, each.kind, each.status, each.error) for each in latest}


def take_lease(session: Session, tenant_id: uuid.UUID, owner: str, now: dt.datetime, until: dt.datetime) -> bool:
    """Takes the lease of a tenant.

    Args:
        session: Database session; the caller commits.
        tenant_id: The tenant.
        owner: Who wants to work on it.
        now: Current time.
        until: When the lease ends by itself.

    Returns:
        Whether the lease is the caller's now.
    """
    free = or_(Tenant.lease_owner.is_(None), Tenant.lease_until < now, Tenant.lease_owner == owner)
    result = session.execute(
        update(Tenant)
        .where(Tenant.id == tenant_id, free)
        .values(lease_owner=owner, lease_until=until, updated=Tenant.updated)
        .returning(Tenant.id)
        .execution_options(synchronize_session=False)
    )
    return result.first() is not None


def renew_lease(session: Session, tenant_id: uuid.UUID, owner: str, until: dt.datetime) -> None:
    """Prolongs a lease that is still the owner's; one that was given back stays so. The caller commits."""
    session.execute(
        update(Tenant)
        .where(Tenant.id == tenant_id, Tenant.lease_owner == owner)
        .values(lease_until=until, updated=Tenant.updated)
        .execution_options(synchronize_session=False)
    )


def drop_lease(session: Session, tenant_id: uuid.UUID, owner: str) -> None:
    """Gives a lease back, if it is still the owner's; the caller commits."""
    session.execute(
        update(Tenant)
        .where(Tenant.id == tenant_id, Tenant.lease_owner == owner)
        .values(lease_owner=None, lease_until=None, updated=Tenant.updated)
        .execution_options(synchronize_session=False)
    )


def unsettled(now: dt.datetime) -> ColumnElement[bool]:
    """Returns the condition that something has to be done for a tenant in the runtime."""
    return and_(
        Tenant.purged.is_(None),
        Tenant.enrolled.is_(False),
        or_(
            Tenant.status == "pending",
            Tenant.generation > Tenant.applied_generation,
            and_(Tenant.status == "deleted", Tenant.purge_after <= now),
        ),
    )


def due_for_a_look(now: dt.datetime) -> ColumnElement[bool]:
    """Returns the condition that an enrolled tenant's server is to be looked at, or a deleted one is to be removed."""
    look = and_(Tenant.desired_state == "available", Tenant.server_url.is_not(None), Tenant.next_poll <= now)
    remove = and_(Tenant.status == "deleted", Tenant.purge_after <= now)
    return and_(Tenant.enrolled.is_(True), Tenant.purged.is_(None), or_(look, remove))


def count_by_version(session: Session) -> dict[str, int]:
    """Returns how many tenants need each ZenML version, with those that were deleted and can be restored."""
    rows = session.execute(
        select(Tenant.version, func.count())
        .where(Tenant.purged.is_(None), Tenant.enrolled.is_(False))
        .group_by(Tenant.version)
    )
    return {row[0]: row[1] for row in rows}


def names_by_version(session: Session, version: str) -> list[str]:
    """Returns `organization/tenant` of all that need a ZenML version, as `count_by_version` counts them."""
    rows = session.execute(
        select(Organization.name, Tenant.name)
        .join(Organization, Organization.id == Tenant.organization_id)
        .where(Tenant.purged.is_(None), Tenant.enrolled.is_(False), Tenant.version == version)
        .order_by(Organization.name, Tenant.name)
    )
    return [f"{organization}/{tenant}" for organization, tenant in rows]
