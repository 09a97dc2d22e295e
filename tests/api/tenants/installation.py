"""A whole api over a real database, with a runtime that a test chooses; the applications listen on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import socket
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
import structlog
import uvicorn
from sqlalchemy import select

from nagaya.access.models import RoleAssignment
from nagaya.app import create_app
from nagaya.app_state import create_state
from nagaya.db.base import utc_now
from nagaya.http.settings import ApiSettings
from nagaya.identity.models import ServiceAccount, Session, User
from nagaya.identity.tokens import PLATFORM_AUDIENCE, SERVER_AUDIENCE
from nagaya.organizations.models import Organization
from nagaya.tenants.assembly import install
from nagaya.tenants.channel import create_channel_app
from nagaya.tenants.models import Tenant
from tests import databases
from tests.api.tenants.runtimes import InstantRuntime

# The default renders local variables of every frame of an exception, which blocks the event loop for seconds.
structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])

PUBLIC_URL = "http://127.0.0.1:8440"
DEADLINE = 20.0
T = TypeVar("T")


@dataclass
class Actor:
    """Somebody with a client that carries the credentials."""

    id: uuid.UUID
    username: str
    session_id: uuid.UUID
    http: httpx.Client


class Installation:
    """One api process. `runtime` is made on the event loop of the process."""

    def __init__(
        self,
        directory: Path,
        runtime: Callable[[], InstantRuntime] = InstantRuntime,
        *,
        checkpoint: Callable[[str], None] = lambda _step: None,
        keep: InstantRuntime | None = None,
        settings: ApiSettings | None = None,
        database: str | None = None,
        **options: Any,
    ) -> None:
        self.directory = directory
        self.url = database or databases.database_url(directory)
        given = settings or ApiSettings(data_dir=directory, public_url=PUBLIC_URL)
        self.state = create_state(dataclasses.replace(given, database_url=self.url))
        self.offset = dt.timedelta()
        self.state.now = lambda: utc_now() + self.offset
        self.database = self.state.database
        self._make = (lambda: keep) if keep is not None else runtime
        self._checkpoint = checkpoint
        self._options = options
        self._ready = threading.Event()
        self._clients: list[httpx.Client] = []
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.runtime: InstantRuntime

    def __enter__(self) -> Installation:
        self._thread.start()
        assert self._ready.wait(DEADLINE)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        for client in self._clients:
            client.close()
        self.database.close()
        if self._failure is not None:
            raise self._failure

    def _serve(self) -> None:
        try:
            asyncio.run(self._main())
        except BaseException as error:  # Handed to the test.
            self._failure = error
        finally:
            self._ready.set()

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.runtime = self._make()
        self.control = install(self.state, self.runtime, checkpoint=self._checkpoint, **self._options)
        self.app = create_app(self.state)
        apps = {"api": self.app, "channel": create_channel_app(self.control)}
        sockets = {}
        servers = {}
        for name, app in apps.items():
            # With the protocol named asyncio switches Nagle's algorithm off, which would add 40 ms to every answer.
            sockets[name] = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            sockets[name].bind(("127.0.0.1", 0))
            sockets[name].listen()
            config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=3, access_log=False)
            servers[name] = uvicorn.Server(config)
            servers[name].install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self.urls = {name: f"http://127.0.0.1:{each.getsockname()[1]}" for name, each in sockets.items()}
        tasks = [asyncio.create_task(servers[name]._serve([sockets[name]])) for name in apps]
        async with self.control.running():
            while not all(server.started for server in servers.values()):  # noqa: ASYNC110 - uvicorn has no event.
                await asyncio.sleep(0.005)
            self._ready.set()
            await self._stop.wait()
        for server in servers.values():
            server.should_exit = True
        await asyncio.gather(*tasks)
        for each in sockets.values():
            each.close()

    def run(self, coroutine: Callable[[], Awaitable[T]] | Callable[[], T]) -> T:
        """Runs a function on the event loop of the process."""

        async def call() -> T:
            result = coroutine()
            return await result if asyncio.iscoroutine(result) else result  # type: ignore[return-value]

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(DEADLINE)

    def client(self, token: str | None = None, *, to: str = "api", **headers: str) -> httpx.Client:
        base = self.urls["api"] + "/api/v1" if to == "api" else self.urls["channel"] + "/channel/v1"
        given = {"Authorization": f"Bearer {token}"} if token else {}
        client = httpx.Client(base_url=base, headers=given | headers, timeout=DEADLINE)
        self._clients.append(client)
        return client

    def user(self, username: str, *, superuser: bool = False) -> Actor:
        """Makes a user who is signed in."""
        now = utc_now()
        user = User(username=username, email=f"{username}@example.com", name=username.title(), is_superuser=superuser)
        with self.database.write() as db:
            db.add(user)
            db.flush()
            sid = self._session(db, user.id, "user", now)
            db.commit()
        return self._actor(user.id, username, sid)

    def machine(self, username: str, organization: str) -> Actor:
        """Makes a service account of an organization, with a session."""
        with self.database.write() as db:
            owner = db.scalars(select(Organization).where(Organization.name == organization)).one()
            account = ServiceAccount(organization_id=owner.id, username=username)
            db.add(account)
            db.flush()
            sid = self._session(db, account.id, "service_account", utc_now())
            db.commit()
        return self._actor(account.id, username, sid)

    def _session(self, db: Any, principal_id: uuid.UUID, kind: str, now: dt.datetime) -> uuid.UUID:
        row = Session(
            principal_id=principal_id,
            principal_kind=kind,
            kind="password" if kind == "user" else "api_key",
            expires=now + dt.timedelta(days=30),
            last_seen=now,
        )
        db.add(row)
        db.flush()
        return row.id

    def _actor(self, principal_id: uuid.UUID, username: str, sid: uuid.UUID) -> Actor:
        token = self.state.tokens.issue(
            "session", principal_id, audience=PLATFORM_AUDIENCE, seconds=86_400 * 30, session_id=sid
        )
        return Actor(principal_id, username, sid, self.client(token))

    def server_token(self, tenant_id: str) -> str:
        return self.state.tokens.issue("server", uuid.UUID(tenant_id), audience=SERVER_AUDIENCE, seconds=3600)

    def channel(self, tenant_id: str) -> httpx.Client:
        """Returns a client with the channel token of a tenant."""
        token = self.secret(tenant_id, "channel")
        return self.client(token, to="channel", **{"Nagaya-Tenant": tenant_id})

    def secret(self, tenant_id: str, name: str) -> str:
        from nagaya.crypto import associated_data  # noqa: PLC0415
        from nagaya.tenants.secrets import COLUMNS  # noqa: PLC0415

        tenant = self.tenant(tenant_id)
        return self.state.keys.master.open(getattr(tenant, COLUMNS[name]), associated_data("tenants", name, tenant_id))

    def tenant(self, tenant_id: str) -> Tenant:
        with self.database.read() as db:
            found = db.get(Tenant, uuid.UUID(tenant_id))
            assert found is not None
            return found

    def give(
        self,
        who: Actor,
        role: str,
        organization: str,
        *,
        tenant: str | None = None,
        project: str | None = None,
        expires: dt.datetime | None = None,
        level: str | None = None,
    ) -> None:
        """Writes a role straight into the database, for tests of something else."""
        with self.database.write() as db:
            owner = db.scalars(select(Organization).where(Organization.name == organization)).one()
            level = level or ("organization" if tenant is None else "project" if project else "tenant")
            db.add(
                RoleAssignment(
                    organization_id=owner.id,
                    principal_id=who.id,
                    principal_kind="user",
                    role=role,
                    level=level,
                    tenant_id=uuid.UUID(tenant) if tenant else None,
                    project_id=uuid.UUID(project) if project else None,
                    expires=expires,
                )
            )
            db.commit()


def eventually(check: Callable[[], T], deadline: float = DEADLINE) -> T:
    """Polls until `check` returns something true, and returns that."""
    end = time.monotonic() + deadline
    while not (value := check()):
        assert time.monotonic() < end, f"did not become true within {deadline} s: {value!r}"
        time.sleep(0.005)
    return value


@contextlib.contextmanager
def installation(directory: Path, *args: Any, **options: Any) -> Iterator[Installation]:
    """Runs an installation for the length of the block."""
    with Installation(directory, *args, **options) as running:
        yield running


def ready(actor: Actor, tenant_id: str, status: str = "available") -> dict[str, Any]:
    """Waits until a tenant has a status and returns it."""

    def check() -> dict[str, Any] | None:
        body: dict[str, Any] = actor.http.get(f"/tenants/{tenant_id}").json()
        return (
            body if body.get("status") == status and body["operation"]["status"] not in {"pending", "running"} else None
        )

    return eventually(check)
