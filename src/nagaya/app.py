"""Builds the public application: the API under /api/v1, the pages, and the static files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

import anyio
import structlog
from anyio import to_thread
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

import nagaya
from nagaya.access import endpoints as access
from nagaya.audit import endpoints as audit
from nagaya.db.errors import reason_of
from nagaya.db.outage import Outage
from nagaya.engines import endpoints as engines
from nagaya.errors import Forbidden, InvalidInput, NotAuthenticated, NotFound, TooManyRequests, Unavailable, responses
from nagaya.http import description, documentation, handlers
from nagaya.http.context import RequestContext
from nagaya.http.routing import Routes
from nagaya.http.state import AppState
from nagaya.identity import endpoints as identity
from nagaya.invitations import endpoints as invitations
from nagaya.operations import endpoints as operations
from nagaya.organizations import endpoints as organizations
from nagaya.pages import endpoints as pages
from nagaya.rbac import endpoints as rbac
from nagaya.teams import endpoints as teams
from nagaya.tenants import endpoints as tenants
from nagaya.usage import endpoints as usage

API_PREFIX = "/api/v1"
FLUSH_SECONDS = 30.0
log = structlog.get_logger("nagaya.app")


def create_app(state: AppState) -> FastAPI:
    """Returns the public application.

    Args:
        state: See `create_state`.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_flush_activity, state)
            yield
            tasks.cancel_scope.cancel()
        try:
            await to_thread.run_sync(state.activity.flush, state.database)
        except SQLAlchemyError as error:
            log.warning("last uses of sessions and keys are lost", reason=reason_of(error))

    app = FastAPI(
        title="Nagaya",
        summary="An open, self-hosted control plane for ZenML.",
        version=nagaya.__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        # A redirect would name the scheme and host of the gateway's inner connection.
        redirect_slashes=False,
    )
    app.state.nagaya = state
    handlers.install(app)
    api_routes().add_to(app)
    pages.router.add_to(app)
    documentation.install(app)
    description.install(app)
    app.add_middleware(RequestContext, max_body=state.settings.max_body)
    return app


@cache
def api_routes() -> Routes:
    """Returns the routes of everything under `/api/v1`."""
    errors = (InvalidInput, NotAuthenticated, Forbidden, NotFound, TooManyRequests, Unavailable)
    routes = Routes(API_PREFIX, responses=responses(*errors))
    # Usage before tenants, whose `/tenants/{organization}/{name}` takes every other path of that form.
    for noun in (identity, organizations, teams, invitations, access, usage, tenants, engines, operations, audit, rbac):
        routes.include(noun.router)
    return routes


async def _flush_activity(state: AppState) -> None:
    outage = Outage()
    while True:
        await anyio.sleep(FLUSH_SECONDS)
        try:
            await to_thread.run_sync(state.activity.flush, state.database)
            outage.over()
        except Exception as error:
            outage.failed("last uses of sessions and keys could not be stored", error)
