"""The control plane's end of the channel: policy down, events up (docs/reference/internals.md, "Channel").

A separate application on a socket of its own. A tenant proves itself with its channel token on every call.
"""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from nagaya.errors import NotAuthenticated
from nagaya.http import handlers
from nagaya.http.context import RequestContext
from nagaya.http.routing import Routes
from nagaya.tenants.control import Control
from nagaya.tenants.events import EventBatch, take_in_events
from nagaya.tenants.models import Tenant
from nagaya.tenants.sharing import ShareRequest, share

PING_SECONDS = 15.0
MAX_BODY = 8 * 1024 * 1024
MAX_VERSION = 2**53


def control_of(request: Request) -> Control:
    """Returns the control that the application was made with."""
    control: Control = request.app.state.control
    return control


ControlOf = Annotated[Control, Depends(control_of)]


async def tenant_of(
    control: ControlOf,
    nagaya_tenant: Annotated[str, Header(max_length=64)] = "",
    authorization: Annotated[str, Header(max_length=512)] = "",
) -> uuid.UUID:
    """Returns the tenant that makes the call.

    Raises:
        NotAuthenticated: The token is not that tenant's; said alike for tenants that do not exist.
    """
    scheme, _, token = authorization.partition(" ")

    def check() -> uuid.UUID | None:
        try:
            tenant_id = uuid.UUID(nagaya_tenant)
        except ValueError:
            return None
        with control.database.read() as session:
            tenant = session.get(Tenant, tenant_id)
            if tenant is None or tenant.purged is not None:
                return None
            return tenant_id if control.platform.secrets.matches(tenant, "channel", token) else None

    found = await asyncio.to_thread(check)
    if found is None or scheme.lower() != "bearer":
        raise NotAuthenticated("This is not the channel token of that tenant.")
    return found


ChannelTenant = Annotated[uuid.UUID, Depends(tenant_of)]
After = Annotated[int, Query(ge=-1, le=MAX_VERSION, description="Version of the policy that the tenant has.")]

router = Routes(prefix="/channel/v1")


@router.get("/policy")
async def read_policy(tenant_id: ChannelTenant, control: ControlOf, after: After = -1) -> Response:
    """Returns the tenant's policy document if it is newer than `after`, else 204."""
    # Tenants ask before they refuse a stranger, mostly in vain: that must not cost a compilation.
    if await asyncio.to_thread(_version, control, tenant_id) <= after:
        return Response(status_code=204)
    document = await control.publisher.document(tenant_id)
    if document is None or document["version"] <= after:
        return Response(status_code=204)
    return Response(_line(document), media_type="application/json")


def _version(control: Control, tenant_id: uuid.UUID) -> int:
    with control.database.read() as session:
        return session.scalar(select(Tenant.policy_version).where(Tenant.id == tenant_id)) or 0


@router.get("/stream")
async def stream_policy(tenant_id: ChannelTenant, control: ControlOf, after: After = -1) -> StreamingResponse:
    """Streams the policy whenever it changes, as NDJSON, until either side ends."""
    return StreamingResponse(_stream(control, tenant_id, after), media_type="application/x-ndjson")


async def _stream(control: Control, tenant_id: uuid.UUID, after: int) -> AsyncIterator[bytes]:
    with control.hub.open(tenant_id, after) as stream:
        # Registered first, compiled then: a change in between is offered rather than lost.
        document = await control.publisher.document(tenant_id)
        control.hub.publish({tenant_id: document} if document is not None else {})
        yield _line({"type": "ping", "time": time.time()})
        async for message in stream.messages(PING_SECONDS, time.time):
            yield _line(message)


@router.post("/events")
async def receive_events(tenant_id: ChannelTenant, control: ControlOf, batch: EventBatch) -> dict[str, int]:
    """Takes in events of the tenant's outbox; those that were taken in before are ignored."""
    acknowledged = await asyncio.to_thread(take_in_events, control.database, tenant_id, batch)
    return {"acknowledged": acknowledged}


@router.post("/shares")
async def share_resource(tenant_id: ChannelTenant, control: ControlOf, body: ShareRequest) -> dict[str, Any]:
    """Gives somebody actions on one resource of the tenant, or takes them away."""
    actions = await asyncio.to_thread(share, control.database, control.platform.issuer, tenant_id, body, control.now())
    return {"resource": body.resource, "actions": actions}


def create_channel_app(control: Control) -> FastAPI:
    """Returns the application of `run/channel.sock`.

    Args:
        control: The running background work of this process.
    """
    app = FastAPI(title="Nagaya channel", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.control = control
    handlers.install(app)
    router.add_to(app)
    app.add_middleware(RequestContext, max_body=MAX_BODY, application="channel")
    return app


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
