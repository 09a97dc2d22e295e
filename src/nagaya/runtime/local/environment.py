"""The environment and the stamp of a tenant's process: pure functions of its spec, its secrets and paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nagaya.runtime.interface import TenantSpec

SECRET_NAMES = ("jwt", "secrets_store", "channel", "client")
CLEANUP_SECONDS = 180
"""How often a tenant deletes what it remembers of finished requests; every 15 s, as ZenML does it by default, would be
most of what a hundred idle tenants do."""


@dataclass(frozen=True)
class Secrets:
    """A tenant's opened secrets; they live in memory and in the process's environment only."""

    jwt: str
    secrets_store: str
    channel: str
    client: str

    def __repr__(self) -> str:
        return "Secrets(…)"


def process_name(tenant: str) -> str:
    """Return the name that a tenant's process gives itself: `nt-` and 12 hex digits (the kernel allows 15 bytes)."""
    return f"nt-{tenant.replace('-', '')[:12]}"


def build_environment(spec: TenantSpec, secrets: Secrets, *, directory: Path, channel: Path) -> dict[str, str]:
    """Return the whole environment of a tenant's process.

    ZenML ignores the encryption key of its secrets store unless the store's type is given as well, and loads
    every migration at each start unless `DISABLE_DATABASE_MIGRATION` (without ZenML's usual prefix) is set.
    `ZENML_SERVER_ROOT_URL_PATH` is absent on purpose: the child takes the prefix from `NAGAYA_ROOT_PATH`.
    """
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(directory),
        "TMPDIR": str(directory / "tmp"),
        "MALLOC_ARENA_MAX": "2",
        "PYTHONUNBUFFERED": "1",
        "ZENML_SERVER": "true",
        "ZENML_CONFIG_PATH": str(directory / "config"),
        "ZENML_LOCAL_STORES_PATH": str(directory / "config" / "stores"),
        "ZENML_STORE_TYPE": "sql",
        "ZENML_STORE_URL": f"sqlite:///{directory / 'zenml.db'}",
        "ZENML_SECRETS_STORE_TYPE": "sql",
        "ZENML_SECRETS_STORE_ENCRYPTION_KEY": secrets.secrets_store,
        "ZENML_ANALYTICS_OPT_IN": "false",
        "ZENML_ENABLE_UPDATES_CHECK": "false",
        "ZENML_LOGGING_COLORS_DISABLED": "true",
        "ZENML_SERVER_DEPLOYMENT_TYPE": "cloud",
        "ZENML_SERVER_AUTO_ACTIVATE": "false",
        "ZENML_SERVER_API_TRANSACTION_CLEANUP_INTERVAL": str(CLEANUP_SECONDS),
        "ZENML_SERVER_JWT_SECRET_KEY": secrets.jwt,
        "ZENML_SERVER_SERVER_URL": spec.server_url,
        "ZENML_SERVER_CORS_ALLOW_ORIGINS": spec.public_url,
        "ZENML_SERVER_MAX_REQUEST_BODY_SIZE_IN_BYTES": str(spec.max_body_bytes),
        "ZENML_SERVER_PRO_API_URL": spec.api_url,
        "ZENML_SERVER_PRO_DASHBOARD_URL": spec.dashboard_url,
        "ZENML_SERVER_PRO_OAUTH2_CLIENT_SECRET": secrets.client,
        "ZENML_SERVER_PRO_OAUTH2_AUDIENCE": "nagaya-server",
        "ZENML_SERVER_PRO_ORGANIZATION_ID": spec.organization_id,
        "ZENML_SERVER_PRO_ORGANIZATION_NAME": spec.organization,
        "ZENML_SERVER_PRO_WORKSPACE_ID": spec.id,
        "ZENML_SERVER_PRO_WORKSPACE_NAME": spec.tenant,
        "DISABLE_DATABASE_MIGRATION": "true",
        "NAGAYA_TENANT_ID": spec.id,
        "NAGAYA_ORGANIZATION_ID": spec.organization_id,
        "NAGAYA_ORGANIZATION": spec.organization,
        "NAGAYA_TENANT": spec.tenant,
        "NAGAYA_PUBLIC_URL": spec.public_url,
        "NAGAYA_ROOT_PATH": spec.root_path,
        "NAGAYA_CHANNEL_SOCKET": str(channel),
        "NAGAYA_CHANNEL_TOKEN": secrets.channel,
        "NAGAYA_POLICY_MAX_AGE": str(int(spec.policy_max_age)),
        "NAGAYA_SYSTEM_USER_ID": spec.system_user_id,
        "NAGAYA_OUTBOX": str(directory / "outbox.db"),
        "NAGAYA_MAX_IN_FLIGHT": str(spec.max_in_flight),
    }


def readdressed(info: dict[str, Any], before: TenantSpec, after: TenantSpec) -> dict[str, Any]:
    """Return the body of `/api/v1/info` with the addresses of `after` where it has those of `before`.

    ZenML writes them as it was given them, and its `dashboard_url` with the workspace's path behind it
    (`ServerConfiguration.dashboard_url` of ZenML 0.98.0).
    """
    known = {
        before.server_url: after.server_url,
        before.api_url: after.api_url,
        before.dashboard_url: after.dashboard_url,
    }
    changed = {
        name: known[value]
        for name, value in info.items()
        if name != "dashboard_url" and isinstance(value, str) and value in known
    }
    dashboard = info.get("dashboard_url")
    if isinstance(dashboard, str) and dashboard.startswith(before.dashboard_url):
        changed["dashboard_url"] = after.dashboard_url + dashboard.removeprefix(before.dashboard_url)
    return info | changed


def build_spawn(
    spec: TenantSpec,
    secrets: Secrets,
    *,
    directory: Path,
    channel: Path,
    template: Path,
    uid: int | None,
) -> dict[str, Any]:
    """Return the spawn message (`docs/reference/internals.md`, Starting a tenant)."""
    return {
        "cmd": "spawn",
        "name": process_name(spec.id),
        "dir": str(directory),
        "log": str(directory / "log" / "tenant.log"),
        "uid": uid,
        "env": build_environment(spec, secrets, directory=directory, channel=channel),
        "stamp": {
            "template": str(template),
            "server_id": spec.id,
            "server_name": spec.tenant,
            "project": spec.project,
            "system_user": {"id": spec.system_user_id, "name": "nagaya"},
        },
    }
