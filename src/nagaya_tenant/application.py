"""Composition of a tenant's application: the parts that our classes inside ZenML use, and the guard in front of it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from nagaya_tenant import context
from nagaya_tenant.audit import Audit
from nagaya_tenant.channel import Channel
from nagaya_tenant.guard import Guard
from nagaya_tenant.outbox import Outbox
from nagaya_tenant.policy_state import PolicyState
from nagaya_tenant.principals import Principals
from nagaya_tenant.routes import router_of
from nagaya_tenant.rows import Rows

if TYPE_CHECKING:
    from nagaya_tenant.asgi import ASGIApp, Message, Receive, Scope, Send
    from nagaya_tenant.settings import TenantSettings

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
                await self._stop()
            await send(message)

        await self.tenant.channel.ask()
        await self._app(scope, receive, watched)

    async def _stop(self) -> None:
        await self.tenant.channel.stop()
        await asyncio.to_thread(self.tenant.outbox.close)
        # A zygote runs one application before it forks; nothing of that tenant may stay in the process.
        context.install(None)


def build(app: ASGIApp, settings: TenantSettings, policy_document: dict[str, Any] | None) -> Application:
    """Builds the application of a tenant; before its lifespan starts, and once per process.

    Args:
        app: ZenML's application, as `nagaya_tenant.hooks.apply` returns it: with our classes in its configuration.
        settings: The tenant's settings.
        policy_document: The last policy that the keeper stored, if any.

    Raises:
        LookupError: There is no route table for this version of ZenML.
    """
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
    return Application(app, Guard(app, router_of(app), tenant, Audit(outbox)), tenant)
