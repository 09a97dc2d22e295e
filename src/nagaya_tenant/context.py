"""What the parts of one tenant process share; ZenML makes some of them itself and can pass them nothing."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nagaya_tenant.channel import Channel
    from nagaya_tenant.outbox import Outbox
    from nagaya_tenant.policy_state import PolicyState
    from nagaya_tenant.principals import Principals
    from nagaya_tenant.rows import Rows
    from nagaya_tenant.settings import TenantSettings


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """The parts of one tenant process."""

    settings: TenantSettings
    policy: PolicyState
    principals: Principals
    rows: Rows
    outbox: Outbox
    channel: Channel


_current: Tenant | None = None


def install(value: Tenant | None) -> None:
    """Sets the parts of this process; once, before the application starts."""
    global _current  # noqa: PLW0603  # ZenML instantiates the RBAC class from its name, so there is no other way in.
    _current = value


def tenant() -> Tenant:
    """The parts of this process.

    Raises:
        RuntimeError: `nagaya_tenant.application.build` has not run.
    """
    if _current is None:
        raise RuntimeError("The tenant is not set up: call nagaya_tenant.application.build first.")
    return _current
