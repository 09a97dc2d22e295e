"""Writes tenants as the API shows them."""

from collections.abc import Iterable

from sqlalchemy.orm import Session

from nagaya.operations.models import Operation
from nagaya.organizations.models import Organization
from nagaya.tenants import repository
from nagaya.tenants.models import Tenant
from nagaya.tenants.schemas import (
    LatestOperation,
    OrganizationInTenant,
    ServiceConfiguration,
    ServiceStatus,
    TenantRead,
    ZenMLService,
)
from nagaya.tenants.spec import Addresses


def read_tenants(
    session: Session, rows: Iterable[tuple[Tenant, Organization]], addresses: Addresses
) -> list[TenantRead]:
    """Returns tenants with their organization and latest operation.

    Args:
        session: Database session.
        rows: Tenants with their organizations.
        addresses: Where things are reached.
    """
    pairs = list(rows)
    operations = repository.latest_operations(session, [tenant.id for tenant, _ in pairs])
    return [_read(tenant, organization, addresses, operations.get(tenant.id)) for tenant, organization in pairs]


def _read(tenant: Tenant, organization: Organization, addresses: Addresses, operation: Operation | None) -> TenantRead:
    url = addresses.tenant_url(organization.name, tenant.name)
    # Clients connect to whatever has an address here, and only while the status is `available`.
    status = ServiceStatus(server_url=url, version=tenant.version) if tenant.status == "available" else None
    return TenantRead(
        id=tenant.id,
        name=tenant.name,
        description=tenant.description,
        organization=OrganizationInTenant.model_validate(organization),
        desired_state=tenant.desired_state,
        state_reason=tenant.status_reason,
        status=tenant.status,
        zenml_service=ZenMLService(configuration=ServiceConfiguration(version=tenant.version), status=status),
        display_name=tenant.display_name,
        documentation=tenant.documentation,
        stage=tenant.stage,
        labels=tenant.labels,
        url=url,
        dashboard_url=f"{addresses.dashboard_url(organization.name)}/t/{tenant.name}",
        activity=tenant.activity,
        protected=tenant.protected,
        hibernate=tenant.hibernate,
        idle_seconds=tenant.idle_seconds,
        created=tenant.created,
        updated=tenant.updated,
        created_by=tenant.created_by,
        last_activity=tenant.last_activity,
        status_changed=tenant.status_changed,
        purge_after=tenant.purge_after,
        operation=None if operation is None else LatestOperation.model_validate(operation),
    )
