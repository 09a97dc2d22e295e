"""Writes tenants as the API shows them."""

import uuid
from collections.abc import Iterable, Mapping

from sqlalchemy.orm import Session

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
from nagaya.usage.repository import counts


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
    ids = [tenant.id for tenant, _ in pairs]
    operations = repository.latest_operations(session, ids)
    usage = counts(session, ids)
    organizations = {each.id: each for _, each in pairs}
    shown = {key: OrganizationInTenant.model_validate(each) for key, each in organizations.items()}
    return [
        _read(
            tenant,
            address_of(tenant, each, addresses),
            shown[each.id],
            addresses,
            operation=operations.get(tenant.id),
            usage=usage,
        )
        for tenant, each in pairs
    ]


def address_of(tenant: Tenant, organization: Organization, addresses: Addresses) -> str:
    """Returns the address that clients of a tenant use; empty for an enrolled one that has not said its own."""
    return (tenant.server_url or "") if tenant.enrolled else addresses.tenant_url(organization.name, tenant.name)


def _read(
    tenant: Tenant,
    url: str,
    organization: OrganizationInTenant,
    addresses: Addresses,
    *,
    operation: repository.Latest | None,
    usage: Mapping[uuid.UUID, dict[str, int]],
) -> TenantRead:
    version = tenant.reported_version if tenant.enrolled else tenant.version
    # Clients connect to whatever has an address here, and only while the status is `available`.
    status = ServiceStatus(server_url=url, version=version) if tenant.status == "available" and url else None
    configuration = ServiceConfiguration(version=version) if version else None
    return TenantRead(
        id=tenant.id,
        name=tenant.name,
        description=tenant.description,
        organization=organization,
        desired_state=tenant.desired_state,
        state_reason=tenant.status_reason,
        status=tenant.status,
        zenml_service=ZenMLService(configuration=configuration, status=status),
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
        usage_counts=usage.get(tenant.id, {}),
        enrolled=tenant.enrolled,
        liveness=tenant.liveness,
        last_seen=tenant.last_seen,
        operation=None if operation is None else LatestOperation.model_validate(operation),
    )
