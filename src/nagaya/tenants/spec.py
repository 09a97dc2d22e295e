"""Writes the specification of a tenant that the runtime is given (docs/reference/internals.md, "Tenant spec")."""

from dataclasses import dataclass
from typing import Final, Self

from nagaya.hosts import HostPattern
from nagaya.http.settings import ApiSettings, TenantDefaults
from nagaya.organizations.models import Organization
from nagaya.runtime.interface import Desired, TenantSpec
from nagaya.tenants.models import Tenant
from nagaya.tenants.secrets import COLUMNS

DESIRED: Final[dict[str, Desired]] = {"available": "running", "deactivated": "stopped", "deleted": "deleted"}
"""The runtime's word for each `desired_state`."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the platform and its tenants are reached.

    Args:
        public_url: Origin of the gateway, without a trailing slash.
        hosts: How tenants' host names are made, if each has one of its own.
    """

    public_url: str
    hosts: HostPattern | None = None

    @classmethod
    def of(cls, settings: ApiSettings) -> Self:
        """Returns the addresses that the settings mean."""
        pattern = settings.tenant_hosts
        return cls(settings.public_url, HostPattern.parse(pattern, settings.public_url) if pattern else None)

    def tenant_path(self, organization: str, tenant: str) -> str:
        """Returns the path by which browsers reach a tenant on the platform's own origin, whatever clients use."""
        return f"/t/{organization}/{tenant}"

    def tenant_url(self, organization: str, tenant: str) -> str:
        """Returns the address that clients of a tenant use: what it calls itself."""
        by_host = self.hosts.url(organization, tenant) if self.hosts is not None else None
        return by_host or f"{self.public_url}{self.tenant_path(organization, tenant)}"

    def root_path(self, organization: str, tenant: str) -> str:
        """Returns the path of `tenant_url`, empty below a host of the tenant's own."""
        by_host = self.hosts is not None and self.hosts.host(organization, tenant) is not None
        return "" if by_host else self.tenant_path(organization, tenant)

    def split_url(self, url: str) -> tuple[str, str] | None:
        """Returns organization and tenant of either address of a tenant, with or without a final slash."""
        if self.hosts is not None and (found := self.hosts.split_url(url)) is not None:
            return found
        prefix = f"{self.public_url}/t/"
        organization, slash, tenant = url.removeprefix(prefix).rstrip("/").partition("/")
        return (organization, tenant) if url.startswith(prefix) and slash else None

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
        root_path=addresses.root_path(organization.name, tenant.name),
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
