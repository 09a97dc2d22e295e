"""All SQL of organizations."""

import uuid

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from nagaya.access.reach import OrganizationReach
from nagaya.db.search import contains
from nagaya.organizations.models import Organization
from nagaya.tenants.models import Tenant


def listing(reach: OrganizationReach, *, name: str | None = None, search: str | None = None) -> Select[Organization]:
    """Returns the SELECT of the organizations in reach, by name.

    Args:
        reach: What the caller may know of.
        name: Only the one of exactly this name.
        search: Only those with this in name, display name or description.
    """
    statement = select(Organization).where(reach.clause).order_by(Organization.name, Organization.id)
    if search is not None:
        columns = (Organization.name, Organization.display_name, Organization.description)
        statement = statement.where(contains(search, *columns))
    return statement if name is None else statement.where(Organization.name == name)


def find(session: Session, reach: OrganizationReach, id_or_name: str) -> Organization | None:
    """Returns the organization in reach of an id or name."""
    try:
        condition = Organization.id == uuid.UUID(id_or_name)
    except ValueError:
        condition = Organization.name == id_or_name
    return session.scalar(select(Organization).where(reach.clause, condition))


def name_taken(session: Session, name: str) -> bool:
    """Whether any organization, deleted ones included, ever had this name."""
    return session.scalar(select(Organization.id).where(Organization.name == name)) is not None


def living_tenants(session: Session, organization: Organization) -> int:
    """Returns how many tenants of the organization are not deleted."""
    statement = select(func.count()).select_from(Tenant)
    counted = statement.where(Tenant.organization_id == organization.id, Tenant.desired_state != "deleted")
    return session.scalar(counted) or 0
