"""Environment that decides what ZenML bakes in while it is imported; the same for zygote, plain start and template.

ZenML 0.98.0 fixes its route set, the authentication scheme and module constants at import. Everything else is read
again from the tenant's own environment after the fork (`nagaya_tenant.reset`), so these are placeholders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

NOBODY = "00000000-0000-4000-8000-000000000000"

# Values that hold for every tenant of a fleet and that no tenant's environment may change.
FLEET: Mapping[str, str] = {
    "DISABLE_DATABASE_MIGRATION": "true",
    "ZENML_ANALYTICS_OPT_IN": "false",
    "ZENML_LOGGING_COLORS_DISABLED": "true",
    "ZENML_SERVER": "true",
    "ZENML_SERVER_DEPLOYMENT_TYPE": "cloud",
}

PLACEHOLDERS: Mapping[str, str] = {
    "ZENML_CONFIG_PATH": "/nonexistent",
    "ZENML_SERVER_PRO_API_URL": "http://tenant.invalid",
    "ZENML_SERVER_PRO_DASHBOARD_URL": "http://tenant.invalid",
    "ZENML_SERVER_PRO_OAUTH2_AUDIENCE": "placeholder",
    "ZENML_SERVER_PRO_OAUTH2_CLIENT_SECRET": "placeholder",
    "ZENML_SERVER_PRO_ORGANIZATION_ID": NOBODY,
    "ZENML_SERVER_PRO_ORGANIZATION_NAME": "placeholder",
    "ZENML_SERVER_PRO_WORKSPACE_ID": NOBODY,
    "ZENML_SERVER_PRO_WORKSPACE_NAME": "placeholder",
}

# OTEL_* would start exporter threads before the fork; ZENML_* of the host's user must not leak into tenants.
SCRUBBED_PREFIXES = ("ZENML_", "OTEL_", "NAGAYA_")

# A tenant's URL prefix goes to `app.root_path` only: ZenML 0.98.0 would put it twice into webhook addresses
# (`ServerConfiguration.server_api_url` appends it to the server's URL, which has it already).
FORBIDDEN = ("ZENML_SERVER_ROOT_URL_PATH",)


class TenantEnvironmentError(ValueError):
    """A tenant's environment contradicts what was fixed when ZenML was imported."""


def use_placeholders(environ: MutableMapping[str, str]) -> None:
    """Replaces every engine variable by the fleet's values and placeholders, for an import without a tenant."""
    for name in [name for name in environ if name.startswith(SCRUBBED_PREFIXES)]:
        del environ[name]
    environ.update(FLEET)
    environ.update(PLACEHOLDERS)


def use_tenant(environ: MutableMapping[str, str], tenant: Mapping[str, str]) -> None:
    """Replaces the whole environment by the tenant's, so that no other variable of the host reaches it.

    Raises:
        TenantEnvironmentError: If `tenant` sets a fleet-wide value differently, or one that must not be set.
    """
    for name, value in FLEET.items():
        if tenant.get(name, value).lower() != value:
            raise TenantEnvironmentError(f"{name} must be {value!r} in every tenant of this platform.")
    for name in FORBIDDEN:
        if tenant.get(name):
            raise TenantEnvironmentError(f"{name} must not be set: the prefix comes from NAGAYA_ROOT_PATH.")
    # Looking up PATH lets programs that ZenML starts (git, for instance) be found.
    kept = {name: environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in environ}
    environ.clear()
    environ.update(kept)
    environ.update(tenant)
    environ.update(FLEET)
