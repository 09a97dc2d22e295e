"""Builds the public application: the API under /api/v1, the pages, and the static files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio import to_thread
from fastapi import APIRouter, FastAPI

import nagaya
from nagaya.access import endpoints as access
from nagaya.audit import endpoints as audit
from nagaya.errors import Forbidden, InvalidInput, NotAuthenticated, NotFound, Unavailable, responses
from nagaya.http import description, documentation, handlers
from nagaya.http.context import RequestContext
from nagaya.http.state import AppState
from nagaya.identity import endpoints as identity
from nagaya.operations import endpoints as operations
from nagaya.organizations import endpoints as organizations
from nagaya.pages import endpoints as pages
from nagaya.tenants import endpoints as tenants

API_PREFIX = "/api/v1"
FLUSH_SECONDS = 30.0


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
        await to_thread.run_sync(state.activity.flush, state.database)

    app = FastAPI(
        title="Nagaya",
        summary="An open, self-hosted control plane for ZenML.",
        version=nagaya.__version__,
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,
        # A redirect would name the scheme and host of the gateway's inner connection.
        redirect_slashes=False,
    )
    app.state.nagaya = state
    handlers.install(app)
    app.include_router(api_router(), prefix=API_PREFIX)
    app.include_router(pages.router)
    documentation.install(app)
    description.install(app)
    app.add_middleware(RequestContext, max_body=state.settings.max_body)
    return app


def api_router() -> APIRouter:
    """Returns the router of everything under `/api/v1`."""
    router = APIRouter(responses=responses(InvalidInput, NotAuthenticated, Forbidden, NotFound, Unavailable))
    for noun in (identity, organizations, access, tenants, operations, audit):
        router.include_router(noun.router)
    return router


async def _flush_activity(state: AppState) -> None:
    while True:
        await anyio.sleep(FLUSH_SECONDS)
        await to_thread.run_sync(state.activity.flush, state.database)
