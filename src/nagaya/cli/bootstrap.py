"""The first start: keys, database, first administrator, and what `nagaya up` was asked to create."""

from __future__ import annotations

from dataclasses import dataclass

from nagaya.runtime.config import PlatformConfig


@dataclass(frozen=True)
class BootstrapResult:
    """What was made, and what a person must be told once.

    Args:
        setup_url: Single-use link by which the first administrator sets a password; None when there is one already.
        admin_email: The administrator that was made now; None when there was one.
        organization: Name of the organization that was asked for.
        tenant: Name of the tenant that was asked for.
        tenant_url: Its address.
        version: Its ZenML version.
    """

    setup_url: str | None = None
    admin_email: str | None = None
    organization: str | None = None
    tenant: str | None = None
    tenant_url: str | None = None
    version: str | None = None


def bootstrap(
    config: PlatformConfig,
    *,
    admin_email: str | None,
    admin_password: str | None,
    organization: str | None,
    tenant: str | None,
) -> BootstrapResult:
    """Makes what the first start needs; each step finds what an earlier start has already made."""
    raise NotImplementedError
