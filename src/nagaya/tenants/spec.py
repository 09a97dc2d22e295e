"""Writes the specification of a tenant that the runtime is given (docs/reference/internals.md, "Tenant spec")."""

from dataclasses import dataclass
from typing import Final

from nagaya.http.settings import TenantDefaults
from nagaya.organizations.models import Organization
from nagaya.runtime.interface import Desired, TenantSpec
from nagaya.tenants.models import Tenant
from nagaya.tenants.secrets import COLUMNS

DESIRED: Final[dict[str, Desired]] = {"available": "running", "deactivated": "stopped", "deleted": "deleted"}
"""The runtime's word for each `desired_state`."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the platform and its tenants are reached; one origin, the only one that a tenant ever names.

    Args:
        public_url: Origin of the gateway, without a trailing slash.
    """

    public_url: str

    def tenant_path(self, organization: str, tenant: str) -> str:
        """Returns the path of a tenant."""
        return f"/t/{organization}/{tenant}"

    def tenant_url(self, organization: str, tenant: str) -> str:
        """Returns the address that clients of a tenant use."""
        return f"{self.public_url}{self.tenant_path(organization, tenant)}"

    @property
    def api_url(self) -> str:
        """Address of the control plane's API."""
        return f"{self.public_url}/api/v1"

    def dashboard_url(self, organization: str) -> str:
        """Returns the address that a tenant's server gives out as its dashboard."""
        return f"{self.public_url}/o/{organization}"


def specification(
    tenant: Tenant, organization: Organization, addresses: Addresses, defaults: TenantDefaults
) -> TenantSpec:
    """Returns what the runtime has to know to run a tenant; secrets stay sealed in it.

    Args:
        tenant: The tenant.
        organization: Its organization.
        addresses: Where things are reached.
        defaults: The platform's limits.
    """
    return TenantSpec(
        id=str(tenant.id),
        organization_id=str(organization.id),
        organization=organization.name,
        tenant=tenant.name,
        engine=tenant.version,
        generation=tenant.generation,
        desired=DESIRED[tenant.desired_state],
        public_url=addresses.public_url,
        server_url=addresses.tenant_url(organization.name, tenant.name),
        root_path=addresses.tenant_path(organization.name, tenant.name),
        api_url=addresses.api_url,
        dashboard_url=addresses.dashboard_url(organization.name),
        hibernate=tenant.hibernate,
        idle_seconds=tenant.idle_seconds,
        policy_max_age=defaults.policy_max_age,
        max_in_flight=defaults.max_in_flight,
        max_body_bytes=defaults.max_body_bytes,
        project={"id": str(tenant.project_id), "name": "default"},
        system_user_id=str(tenant.system_user_id),
        secrets={name: getattr(tenant, column) for name, column in COLUMNS.items()},
    )
