"""Puts the parts of tenants into the state of the api process."""

from collections.abc import Callable

from nagaya.access.compiler import Issuer
from nagaya.http.state import AppState
from nagaya.rbac.policies import Policies
from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.interface import Runtime
from nagaya.runtime.local.client import LocalRuntime
from nagaya.tenants.control import Control
from nagaya.tenants.platform import EXTRA, Engines, TenantPlatform
from nagaya.tenants.secrets import TenantSecrets
from nagaya.tenants.spec import Addresses


def install(
    state: AppState,
    runtime: Runtime,
    *,
    default_engine: str | None = None,
    anyone_may_create_organizations: bool = False,
    lease_seconds: float = 6.0,
    checkpoint: Callable[[str], None] = lambda _step: None,
) -> Control:
    """Gives the endpoints of organizations, access, tenants and operations what they need.

    Args:
        state: The state of the application; called before it serves.
        runtime: Runs tenants.
        default_engine: ZenML version of new tenants; the newest installed one if None.
        anyone_may_create_organizations: Whether every user may make an organization, not only superusers.
        lease_seconds: See `TenantPlatform`.
        checkpoint: See `Reconciler`.

    Returns:
        The background work, to be run beside the application: `async with control.running(): …`; the application of
        `run/channel.sock` is `nagaya.tenants.channel.create_channel_app(control)`.
    """
    issuer = Issuer(state.settings.public_url, state.keys.jwks)
    platform = TenantPlatform(
        runtime=runtime,
        secrets=TenantSecrets(state.keys.master),
        addresses=Addresses.of(state.settings),
        issuer=issuer,
        policies=Policies(issuer),
        engines=Engines(default=default_engine),
        anyone_may_create_organizations=anyone_may_create_organizations,
        defaults=state.settings.tenants,
        liveness_seconds=state.settings.liveness_seconds,
        lease_seconds=lease_seconds,
    )
    state.extras[EXTRA] = platform
    return Control(state.database, platform, state.now, checkpoint)


def create_control(config: PlatformConfig, state: AppState) -> Control:
    """Returns the background work of one host's api process, whose runtime is the keeper.

    Args:
        config: The platform's configuration.
        state: The state of the applications; gets what the endpoints of tenants need.
    """
    return install(
        state,
        LocalRuntime(config.socket("keeper")),
        default_engine=config.default_engine,
        anyone_may_create_organizations=state.settings.anyone_may_create_organizations,
    )
