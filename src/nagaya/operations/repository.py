"""All SQL of operations that callers read."""

import uuid

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from nagaya.access.reach import AccessibleOrganizationId, AccessibleTenantId, TenantReach
from nagaya.operations.models import Operation
from nagaya.organizations.models import Organization
from nagaya.tenants.models import Tenant


def listing(
    reach: TenantReach,
    *,
    organization_id: AccessibleOrganizationId | None = None,
    tenant_id: AccessibleTenantId | None = None,
    status: str | None = None,
) -> Select[Operation]:
    """Returns the SELECT of operations on tenants in reach, the latest first."""
    statement = (
        select(Operation)
        .join(Tenant, Tenant.id == Operation.tenant_id)
        .join(Organization, Organization.id == Tenant.organization_id)
        .where(reach.clause)
        .order_by(Operation.created.desc(), Operation.id)
    )
    if organization_id is not None:
        statement = statement.where(Operation.organization_id == organization_id)
    if tenant_id is not None:
        statement = statement.where(Operation.tenant_id == tenant_id)
    if status is not None:
        statement = statement.where(Operation.status == status)
    return statement


def find(session: Session, reach: TenantReach, operation_id: uuid.UUID) -> Operation | None:
    """Returns the operation of an id, if its tenant is in reach."""
    return session.scalar(listing(reach).where(Operation.id == operation_id))
