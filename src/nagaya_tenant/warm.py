"""What a zygote does before it forks: everything that each tenant would do in its first seconds, then undoes it.

Measured on ZenML 0.98.0: a fork after the import alone needs 96 MB and 1.3 s to its first answer, after all of this
32 MB and 0.1 s.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import uuid4

from nagaya_tenant import asgi, hooks, openapi_document, process, profile, server, stamp
from nagaya_tenant.settings import TenantSettings

if TYPE_CHECKING:
    from nagaya_tenant.reset import Reset

# Imported by ZenML's lifespan, by its store and by requests only when needed; in a child that would cost time and
# memory in each of them.
LAZY_MODULES = (
    "alembic.command",
    "alembic.runtime.migration",
    "alembic.script",
    "bcrypt",
    "passlib.handlers.bcrypt",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.middleware.proxy_headers",
    "uvicorn.protocols.http.httptools_impl",
    "zenml.zen_server.pipeline_execution.utils",
    "zenml.zen_server.rbac.rbac_sql_zen_store",
    "zenml.zen_stores.migrations.backup.sqlalchemy",
    "zenml.zen_stores.secrets_stores.sql_secrets_store",
)
READ_PATHS = (
    "/ready",
    "/api/v1/info",
    "/",
    "/openapi.json",
    "/api/v1/current-user",
    "/api/v1/projects",
    "/api/v1/stacks",
    "/api/v1/components",
    "/api/v1/flavors",
    "/api/v1/users",
    "/api/v1/service_accounts",
    "/api/v1/secrets",
    "/api/v1/tags",
    "/api/v1/service_connectors",
    "/api/v1/statistics",
    "/api/v1/nothing-here",
)
PROJECT_PATHS = (
    "/api/v1/pipelines",
    "/api/v1/runs",
    "/api/v1/pipeline_snapshots",
    "/api/v1/artifacts",
    "/api/v1/artifact_versions",
    "/api/v1/models",
    "/api/v1/model_versions",
    "/api/v1/schedules",
    "/api/v1/steps",
)
PROJECT = "default"
PUBLIC_URL = "http://tenant.invalid"
THREADS_GONE_SECONDS = 10
# Pydantic keeps the classes that it makes of generic ones only while somebody uses them; ZenML's store makes this one
# for each page of a list.
_kept: list[type[Any]] = []


class WarmUpError(RuntimeError):
    """The dry run failed, so forked tenants would fail as well."""


def imports(reset: Reset) -> None:
    """Imports what is imported lazily, and builds what ZenML, SQLAlchemy and FastAPI build at first use."""
    from sqlalchemy.orm import configure_mappers  # noqa: PLC0415 - only in an engine
    from zenml.models import Page  # noqa: PLC0415
    from zenml.service_connectors.service_connector_registry import (  # noqa: PLC0415
        service_connector_registry,
    )

    configure_mappers()
    for module in (*LAZY_MODULES, *reset.lazy_modules):
        importlib.import_module(module)
    service_connector_registry.register_builtin_service_connectors()
    _kept.append(Page[Any])
    hooks.apply_process_wide()


def routes() -> None:
    """Makes FastAPI build the effective routes of included routers, which it does at the first match (0.9 to 1.5 s)."""
    from zenml.zen_server.zen_server_api import app  # noqa: PLC0415 - only in an engine

    for method in ("GET", "POST", "PUT", "DELETE"):
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": "/api/v1/nothing-here",
            "root_path": "",
            "headers": [],
        }
        for route in app.router.routes:
            route.matches({**scope, "query_string": b"", "app": app})


def dry_run(reset: Reset, template: Path) -> None:
    """Runs a whole life of a tenant against a scratch database, through the guarded application, and undoes it.

    Raises:
        WarmUpError: If anything in it fails.
    """
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="nagaya-zygote-") as name:
        try:
            directory = Path(name)
            order = _stamp_order(template)
            stamp.ensure_database(order, directory / "zenml.db")
            profile.use_tenant(os.environ, _environment(order, directory))
            reset.forget()
            asyncio.run(_life(order))
            server.close_store()
        finally:
            reset.forget()
            os.environ.clear()
            os.environ.update(before)


def settle(reset: Reset) -> None:
    """Collects, gives memory back, freezes what is left, and proves that nothing of the dry run is alive.

    Raises:
        WarmUpError: If a thread, a database file or an object of the dry run is left.
    """
    reset.discover()
    reset.forget()
    deadline = time.monotonic() + THREADS_GONE_SECONDS
    while process.threads() > 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    gc.collect()
    if (count := process.threads()) > 1:
        raise WarmUpError(f"{count} threads are running before the first fork; only the main one may.")
    if left := [target for target in process.open_files().values() if ".db" in Path(target).name]:
        raise WarmUpError(f"Database files are open before the first fork: {', '.join(sorted(left))}.")
    if survivors := reset.survivors():
        raise WarmUpError(f"Objects of the dry run are alive before the first fork: {', '.join(survivors)}.")
    process.trim_heap()
    gc.freeze()


def _stamp_order(template: Path) -> stamp.StampOrder:
    return stamp.StampOrder(
        template=template,
        server_id=uuid4(),
        server_name="zygote",
        project_id=uuid4(),
        project_name=PROJECT,
        system_user_id=uuid4(),
        system_user_name="nagaya",
    )


def _environment(order: stamp.StampOrder, directory: Path) -> dict[str, str]:
    return {
        **profile.PLACEHOLDERS,
        "ZENML_CONFIG_PATH": str(directory),
        "ZENML_STORE_URL": f"sqlite:///{directory}/zenml.db",
        "ZENML_SECRETS_STORE_TYPE": "sql",
        "ZENML_SECRETS_STORE_ENCRYPTION_KEY": uuid4().hex,
        "ZENML_SERVER_JWT_SECRET_KEY": uuid4().hex,
        "ZENML_SERVER_PRO_WORKSPACE_ID": str(order.server_id),
        "ZENML_SERVER_SERVER_URL": f"{PUBLIC_URL}/t/zygote/zygote",
        "NAGAYA_TENANT_ID": str(order.server_id),
        "NAGAYA_ORGANIZATION_ID": profile.NOBODY,
        "NAGAYA_PUBLIC_URL": PUBLIC_URL,
        "NAGAYA_ROOT_PATH": "/t/zygote/zygote",
        "NAGAYA_CHANNEL_SOCKET": str(directory / "channel.sock"),
        "NAGAYA_CHANNEL_TOKEN": uuid4().hex,
        "NAGAYA_SYSTEM_USER_ID": str(order.system_user_id),
        "NAGAYA_OUTBOX": str(directory / "outbox.db"),
    }


async def _life(order: stamp.StampOrder) -> None:
    from nagaya_tenant.application import build  # noqa: PLC0415 - imports ZenML

    settings = TenantSettings.from_environment(os.environ)
    session, policy = _credentials(order)
    app: asgi.ASGIApp = build(hooks.apply(settings), settings, policy)
    async with asgi.lifespan(app):
        token = await _login(app, session)
        authorization = ((b"authorization", b"Bearer " + token),)
        reads = [(path, "") for path in READ_PATHS] + [(path, f"project={PROJECT}") for path in PROJECT_PATHS]
        for path, query in reads:
            for headers in ((), authorization):
                _accept(path, await asgi.call(app, path, query=query, headers=headers))
        json_type = (b"content-type", b"application/json")
        body = json.dumps({"name": "zygote", "exclusive": False, "color": "blue"}).encode()
        answer = await asgi.call(app, "/api/v1/tags", method="POST", headers=(*authorization, json_type), body=body)
        _accept("POST /api/v1/tags", answer)


def _accept(what: str, answer: asgi.Answer) -> None:
    print(f"nagaya: dry run {what}: {answer.status}", file=sys.stderr)  # noqa: T201 - the zygote's log
    if not 200 <= answer.status < 500:
        raise WarmUpError(f"{what} answered {answer.status} in the dry run: {answer.body[:300]!r}")


async def _login(app: asgi.ASGIApp, session: str) -> bytes:
    answer = await asgi.call(
        app,
        "/api/v1/login",
        method="POST",
        headers=(
            (b"authorization", b"Bearer " + session.encode()),
            (b"content-type", b"application/x-www-form-urlencoded"),
        ),
        body=urlencode({"grant_type": "zenml-external"}).encode(),
    )
    if answer.status != 200:
        raise WarmUpError(f"The login of the dry run answered {answer.status}: {answer.body[:300]!r}")
    token = json.loads(answer.body)["access_token"]
    return str(token).encode()


def _credentials(order: stamp.StampOrder) -> tuple[str, dict[str, Any]]:
    """Makes a platform session of one administrator, and the policy document that knows it."""
    import jwt  # noqa: PLC0415 - only in an engine
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from jwt.algorithms import OKPAlgorithm  # noqa: PLC0415

    key = Ed25519PrivateKey.generate()
    public = OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)
    principal, now = str(uuid4()), int(time.time())
    claims = {"iss": PUBLIC_URL, "aud": "nagaya", "typ": "session", "sub": principal, "sid": str(uuid4()), "epoch": 0}
    token = jwt.encode({**claims, "iat": now, "exp": now + 600}, key, algorithm="EdDSA", headers={"kid": "zygote"})
    policy = {
        "schema": 1,
        "tenant": str(order.server_id),
        "organization": profile.NOBODY,
        "version": 1,
        "issuer": PUBLIC_URL,
        "issued_at": now,
        "jwks": {"keys": [{**public, "kid": "zygote", "alg": "EdDSA", "use": "sig"}]},
        "principals": {
            principal: {
                "kind": "user",
                "username": "zygote",
                "email": "zygote@tenant.invalid",
                "name": "Zygote",
                "superuser": False,
                "valid_after": 0,
                "grants": [{"role": "tenant_admin", "via": "direct", "project": None, "expires": None}],
                "shares": {},
            }
        },
        "roles": {},
        "revoked_sessions": {},
    }
    return str(token), policy


def run(reset: Reset, template: Path) -> dict[str, float]:
    """Does all of the above.

    Returns:
        Seconds of each part.
    """
    seconds: dict[str, float] = {}
    last = time.monotonic()
    for name, part in (
        ("imports", lambda: imports(reset)),
        ("routes", routes),
        ("openapi", openapi_document.build),
        ("dry_run", lambda: dry_run(reset, template)),
        ("settle", lambda: settle(reset)),
    ):
        part()
        now = time.monotonic()
        seconds[name] = round(now - last, 2)
        last = now
    return seconds
