"""Settings of one tenant process, read from the `NAGAYA_*` part of the environment that the keeper gives it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "NAGAYA_"
DEFAULT_POLICY_MAX_AGE = 86_400


class SettingsError(ValueError):
    """A variable that the keeper must set is missing or has a value that cannot be used."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TenantSettings:
    """What a tenant process knows about itself and the platform.

    Attributes:
        tenant_id: Id of the tenant; also the ZenML server's id, token issuer and token audience.
        organization_id: Id of the organization that owns the tenant.
        public_url: The platform's only public origin, without trailing slash; issuer of platform tokens.
        root_path: Path prefix below which clients reach the tenant (`/t/acme/staging`), or empty.
        channel_socket: Unix socket on which the platform serves the channel.
        channel_token: Bearer token of the channel; never shown in a representation.
        policy_max_age: Seconds for which the last policy serves while the channel is silent.
        system_user_id: The reserved user that owns the platform's rows and cannot log in.
        outbox: Path of the durable event queue.
    """

    tenant_id: UUID
    organization_id: UUID
    public_url: str
    root_path: str
    channel_socket: Path
    channel_token: str = dataclasses.field(repr=False)
    policy_max_age: int = DEFAULT_POLICY_MAX_AGE
    system_user_id: UUID
    outbox: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> TenantSettings:
        """Reads the settings.

        Args:
            environ: The child's environment, as `nagaya.runtime.local.environment` builds it.

        Raises:
            SettingsError: Naming the variable, and never its value, which may be secret.
        """
        root_path = environ.get(f"{PREFIX}ROOT_PATH", "")
        if root_path and (not root_path.startswith("/") or root_path.endswith("/")):
            raise SettingsError(f"{PREFIX}ROOT_PATH must be empty or start with a slash and end without one.")
        return cls(
            tenant_id=_uuid(environ, "TENANT_ID"),
            organization_id=_uuid(environ, "ORGANIZATION_ID"),
            public_url=_required(environ, "PUBLIC_URL").rstrip("/"),
            root_path=root_path,
            channel_socket=Path(_required(environ, "CHANNEL_SOCKET")),
            channel_token=_required(environ, "CHANNEL_TOKEN"),
            policy_max_age=_seconds(environ, "POLICY_MAX_AGE", DEFAULT_POLICY_MAX_AGE),
            system_user_id=_uuid(environ, "SYSTEM_USER_ID"),
            outbox=Path(_required(environ, "OUTBOX")),
        )


def _required(environ: Mapping[str, str], name: str) -> str:
    if value := environ.get(PREFIX + name, ""):
        return value
    raise SettingsError(f"{PREFIX}{name} is not set; the keeper must give it to every tenant process.")


def _uuid(environ: Mapping[str, str], name: str) -> UUID:
    text = _required(environ, name)
    try:
        return UUID(text)
    except ValueError:
        raise SettingsError(f"{PREFIX}{name} must be a UUID.") from None


def _seconds(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(PREFIX + name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise SettingsError(f"{PREFIX}{name} must be a whole number of seconds, 0 or more.")
    return int(text)
