"""The application on `run/internal.sock`, which only the gateway can reach: sessions become tenant tokens here."""

from typing import Annotated

from anyio import to_thread
from fastapi import FastAPI, Query
from pydantic import BaseModel

from nagaya.access.reach import every_tenant
from nagaya.errors import NotAuthenticated, NotFound
from nagaya.http import handlers
from nagaya.http.context import RequestContext
from nagaya.http.routing import Routes
from nagaya.http.schemas import Input
from nagaya.http.state import AppState, State
from nagaya.identity.service import authentication, tenant_access
from nagaya.metrics import api as metrics
from nagaya.metrics.registry import Snapshot
from nagaya.tenants import repository as tenants

router = Routes(prefix="/internal/v1")
Part = Annotated[str, Query(max_length=64, pattern=r"^[\x20-\x7e]*$")]


class CookieExchange(Input):
    """A browser's session cookie and the tenant that the browser wants to reach."""

    cookie: str
    tenant: str


class ExchangedToken(BaseModel):
    """A token for the tenant."""

    token: str
    expires_in: int


class Location(BaseModel):
    """The path of a tenant."""

    location: str


@router.post("/tenant_token")
async def tenant_token(body: CookieExchange, state: State) -> ExchangedToken:
    """Turns a browser's session into a token of minutes for one tenant. 401: no session; 404: not a member."""

    def exchange() -> ExchangedToken:
        with state.database.read() as db:
            principal = authentication.by_token(db, state, body.cookie, cookie=True)
            tenant = tenant_access.enterable(db, state, principal, body.tenant)
            if tenant.enrolled:
                raise NotFound("The server of this tenant runs elsewhere.")
            token = tenant_access.short_token(state, principal, tenant.id)
            return ExchangedToken(token=token.access_token, expires_in=token.expires_in)

    if not body.cookie.isascii():
        raise NotAuthenticated
    return await to_thread.run_sync(exchange)


@router.get("/redirect")
async def redirect(state: State, organization: Part, tenant: Part) -> Location:
    """Tells the path of a tenant that the keeper does not know under this name.

    Either the name was written with capital letters, or the tenant was created a moment ago: then the path is the one
    that was asked for, and the gateway waits for the keeper to learn of it.
    """

    def find() -> str | None:
        name = f"{organization}/{tenant}".lower()
        with state.database.read() as db:
            found = tenants.find(db, every_tenant(), name)
            here = (tenant for tenant, _ in found if tenant.desired_state != "deleted" and not tenant.enrolled)
            return f"/t/{name}" if any(here) else None

    location = await to_thread.run_sync(find)
    if location is None:
        raise NotFound("There is no such tenant.")
    return Location(location=location)


@router.get("/metrics")
async def read_metrics() -> Snapshot:
    """Returns what this process has counted, for the gateway, which shows the metrics of all processes."""
    return await to_thread.run_sync(metrics.registry.snapshot)


def create_internal_app(state: AppState) -> FastAPI:
    """Returns the application.

    Args:
        state: The state that it shares with the public application.
    """
    app = FastAPI(title="Nagaya internal", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.nagaya = state
    handlers.install(app)
    router.add_to(app)
    app.add_middleware(RequestContext, max_body=65_536, application="internal")
    return app
