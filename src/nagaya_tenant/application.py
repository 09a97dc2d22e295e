"""Composition of a tenant's application: ZenML's own, our classes inside it, the guard in front of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import zenml
from zenml.zen_server import zen_server_api
from zenml.zen_server.utils import server_config

from nagaya_tenant import context
from nagaya_tenant.audit import Audit
from nagaya_tenant.channel import Channel
from nagaya_tenant.guard import Guard
from nagaya_tenant.outbox import Outbox
from nagaya_tenant.policy_state import PolicyState
from nagaya_tenant.principals import Principals
from nagaya_tenant.routes import Router, routes_of, table_for
from nagaya_tenant.rows import Rows

if TYPE_CHECKING:
    from nagaya_tenant.settings import TenantSettings
    from nagaya_tenant.types_asgi import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)


class Application:
    """The ASGI application of a tenant.

    Args:
        app: ZenML's application.
        guard: What requests go through.
        tenant: The parts, of which the channel and the outbox are started and stopped here.
    """

    def __init__(self, app: ASGIApp, guard: Guard, tenant: context.Tenant) -> None:
        self._app = app
        self._guard = guard
        self.tenant = tenant

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the lifespan through, with the channel inside it, and requests to the guard."""
        if scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await self._guard(scope, receive, send)

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self.tenant.channel.start()
            elif message["type"].startswith("lifespan.shutdown"):
                await self.tenant.channel.stop()
                self.tenant.outbox.close()
            await send(message)

        await self._app(scope, receive, watched)


def build(app: ASGIApp, settings: TenantSettings, policy_document: dict[str, Any] | None) -> Application:
    """Builds the application of a tenant; before its lifespan starts, and once per process.

    Args:
        app: ZenML's application (`zenml.zen_server.zen_server_api.app`).
        settings: The tenant's settings.
        policy_document: The last policy that the keeper stored, if any.

    Raises:
        LookupError: There is no route table for this version of ZenML.
    """
    router = Router(routes_of(app), table_for(zenml.__version__))
    _replace_cloud_classes()
    policy = PolicyState(str(settings.tenant_id), settings.policy_max_age)
    if policy_document:
        try:
            policy.apply_snapshot(policy_document)
        except ValueError:
            log.exception("The stored policy cannot be used; requests wait for one from the control plane.")
        else:
            policy.alive(float(policy_document.get("issued_at", 0)))
    outbox = Outbox(settings.outbox)
    tenant = context.Tenant(
        settings=settings,
        policy=policy,
        principals=Principals(settings.system_user_id),
        rows=Rows(settings.system_user_id),
        outbox=outbox,
        channel=Channel(settings, policy, outbox),
    )
    context.install(tenant)
    return Application(app, Guard(app, router, tenant, Audit(outbox)), tenant)


def _replace_cloud_classes() -> None:
    """Puts our classes where ZenML's cloud mode has put its own, which ask the control plane for every decision.

    Cloud mode overwrites what the environment says, so this happens on the configuration object; ZenML makes the
    instances in its lifespan. The status report of the lifespan is left out: the keeper knows that this process serves,
    and a tenant must start while the control plane is away.
    """
    config = server_config()
    config.rbac_implementation_source = "nagaya_tenant.rbac.NagayaRBAC"
    config.feature_gate_implementation_source = "nagaya_tenant.feature_gate.NagayaFeatureGate"
    if hasattr(zen_server_api, "send_pro_workspace_status_update"):
        zen_server_api.send_pro_workspace_status_update = lambda: None
