"""Settings of the api process, taken from the platform's configuration and the environment."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from nagaya.runtime.config import PlatformConfig

DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class TenantDefaults:
    """What a tenant gets that nobody decided otherwise for. Times are in seconds, sizes in bytes."""

    idle_seconds: int = 900
    policy_max_age: int = DAY
    max_in_flight: int = 64
    max_body_bytes: int = 104_857_600


@dataclass(frozen=True, kw_only=True)
class ApiSettings:
    """What the api needs to know. Times are in seconds, sizes in bytes."""

    data_dir: Path
    public_url: str
    """Origin that browsers and clients use, without a trailing slash."""
    tenant_hosts: str | None = None
    """Pattern of tenants' own host names (`nagaya.hosts`)."""
    database_url: str | None = None
    master_key_file: Path | None = None
    session_seconds: int = DAY // 2
    device_seconds: int = DAY
    api_token_seconds: int = 3600
    tenant_token_seconds: int = 300
    server_token_seconds: int = 3600
    idle_seconds: int = DAY // 2
    """A browser session that is not used for so long ends before its time."""
    device_code_seconds: int = 600
    device_interval: int = 5
    setup_link_seconds: int = DAY
    key_days: int = 90
    """Life of an API key whose creator does not say."""
    key_days_limit: int = 365
    max_body: int = 1024 * 1024
    hash_concurrency: int = 2
    """Password hashes at a time; each takes 19 MiB and some tens of milliseconds of one core."""
    login_attempts: int = 10
    """Failed sign-ins per account, and ten times as many per address, in `login_window` before 429."""
    login_window: int = 300
    account_factor: int = 5
    """How many times `login_attempts` failures an account may have from all addresses together before 429."""
    session_limit: int = 50
    """Live sessions of one user or service account; a new one ends the oldest."""
    principal_rate: float = 100.0
    """Requests a second of one principal in the long run; 0 is no limit."""
    principal_burst: int = 2000
    """Requests of one principal at once."""
    log_level: str = "info"
    log_format: str = "json"
    anyone_may_create_organizations: bool = False
    """Whether every user may make an organization, not only superusers."""
    enrollment: str = "organizations"
    """Who may enroll servers: `organizations` (whoever may create tenants there) or `superusers` only."""
    liveness_seconds: int = 60
    """Time between two looks at an enrolled server."""
    tenants: TenantDefaults = field(default_factory=TenantDefaults)

    @property
    def secure(self) -> bool:
        """Whether browsers reach the platform over TLS."""
        return urlsplit(self.public_url).scheme == "https"

    @property
    def cookie(self) -> str:
        """Name of the session cookie; `__Host-` binds it to the host, but browsers take it over TLS only."""
        return "__Host-nagaya" if self.secure else "nagaya"

    @property
    def api_url(self) -> str:
        """Address of the API as clients are told."""
        return f"{self.public_url}/api/v1"

    @classmethod
    def from_platform(cls, config: PlatformConfig) -> Self:
        """Returns the settings of one host.

        Args:
            config: The platform's configuration; its `api` overrides defaults by name.

        Raises:
            ValueError: It names a setting that does not exist.
        """
        if unknown := sorted(set(config.api) - {field.name for field in dataclasses.fields(cls)}):
            raise ValueError(f"unknown settings of the api: {', '.join(unknown)}")
        return cls(
            data_dir=config.data_dir,
            public_url=config.public_url.rstrip("/"),
            database_url=config.database_url,
            master_key_file=config.master_key_file,
            **{**config.api, "tenants": TenantDefaults(**config.api.get("tenants", {}))},
        )
