"""Builds the public application: the API under /api/v1, the pages, and the static files."""

from __future__ import annotations

import datetime as dt
import importlib.util
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
from anyio import to_thread
from fastapi import APIRouter, FastAPI

import nagaya
from nagaya.db.base import utc_now
from nagaya.db.engine import Database, database_url
from nagaya.db.migrate import upgrade
from nagaya.errors import InvalidInput, NotAuthenticated, NotFound, Unavailable, responses
from nagaya.http import documentation, handlers
from nagaya.http.context import RequestContext
from nagaya.http.settings import ApiSettings
from nagaya.http.state import AppState
from nagaya.identity.activity import Activity
from nagaya.identity.keys import KeyRing, ensure_keys
from nagaya.identity.passwords import Passwords
from nagaya.identity.tokens import Tokens

API_PREFIX = "/api/v1"
FLUSH_SECONDS = 30.0


def create_state(
    settings: ApiSettings, keys: KeyRing | None = None, now: Callable[[], dt.datetime] = utc_now
) -> AppState:
    """Opens keys and database and returns the state that the applications of one process share.

    Args:
        settings: The settings.
        keys: The key ring; by default the installation's, made if it is new.
        now: The clock.

    Raises:
        KeyFileError: A key file is damaged.
        SchemaError: The database was made by a newer version.
    """
    keys = keys or ensure_keys(settings.data_dir, master_key_file=settings.master_key_file)
    database = Database(database_url(settings.data_dir, settings.database_url))
    upgrade(database)
    return AppState(
        settings=settings,
        database=database,
        keys=keys,
        tokens=Tokens(keys, settings.public_url, now),
        passwords=Passwords(settings.hash_concurrency),
        activity=Activity(),
        now=now,
    )


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
        generate_unique_id_function=lambda route: f"{route.name}",
    )
    app.state.nagaya = state
    app.state.database = state.database
    handlers.install(app)
    app.include_router(api_router(), prefix=API_PREFIX)
    documentation.install(app)
    app.add_middleware(RequestContext, max_body=state.settings.max_body)
    return app


def api_router() -> APIRouter:
    """Returns the router of everything under `/api/v1`."""
    router = APIRouter(responses=responses(InvalidInput, NotAuthenticated, NotFound, Unavailable))
    for noun in ("identity", "organizations", "access", "tenants", "operations", "audit"):
        name = f"nagaya.{noun}.endpoints"
        if importlib.util.find_spec(name) is not None:
            router.include_router(importlib.import_module(name).router)
    return router


async def _flush_activity(state: AppState) -> None:
    while True:
        await anyio.sleep(FLUSH_SECONDS)
        await to_thread.run_sync(state.activity.flush, state.database)
