"""A real application on a real database with people, an organization and a tenant, for the tests of the api."""

from __future__ import annotations

import datetime as dt
import shutil
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal
from argon2 import PasswordHasher
from sqlalchemy import func, select
from starlette.testclient import TestClient

from nagaya.app import create_app
from nagaya.app_state import create_state
from nagaya.audit.models import AuditEvent
from nagaya.crypto import associated_data
from nagaya.db.base import utc_now
from nagaya.http.settings import ApiSettings
from nagaya.http.transactions import UnitOfWork
from nagaya.identity.models import User
from nagaya.identity.service import sessions, users
from nagaya.tenants.assembly import install
from nagaya.tenants.models import Tenant
from tests import databases
from tests.api.tenants.runtimes import InstantRuntime

PUBLIC_URL = "http://nagaya.test"
PASSWORD = "seven quiet lanterns"
NEW_PASSWORD = "eleven loud bicycles"
FORM = {"content-type": "application/x-www-form-urlencoded"}


@cache
def password_hash(password: str = PASSWORD) -> str:
    """Hashes once for all tests."""
    return PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1).hash(password)


class Clock:
    """Time that only a test moves."""

    def __init__(self) -> None:
        self.time = utc_now().replace(microsecond=0)

    def __call__(self) -> dt.datetime:
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += dt.timedelta(seconds=seconds)


@dataclass(frozen=True)
class Person:
    """A user who is signed in by a bearer token."""

    id: uuid.UUID
    username: str
    email: str
    token: str
    session_id: uuid.UUID

    @property
    def auth(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class World:
    """The application with what tests need to make."""

    def __init__(self, directory: Path, template: Path | None = None, **settings: Any) -> None:
        if template is not None:
            shutil.copytree(template, directory, dirs_exist_ok=True)
        self.directory = directory
        self.clock = Clock()
        given = {"login_attempts": 5, "database_url": databases.database_url(directory, template)} | settings
        self.state = create_state(ApiSettings(data_dir=directory, public_url=PUBLIC_URL, **given), now=self.clock)
        self.control = install(self.state, InstantRuntime(), default_engine="0.98.0")
        self.app = create_app(self.state)
        self._stack = ExitStack()
        self._portal = self._stack.enter_context(start_blocking_portal())
        self.client = self.browser()

    def browser(self) -> TestClient:
        """A client with a cookie jar of its own; all share one event loop, as in the real process."""
        client = TestClient(self.app, base_url=PUBLIC_URL, raise_server_exceptions=False, follow_redirects=False)
        client.portal = self._portal
        return client

    def user(
        self,
        username: str,
        *,
        superuser: bool = False,
        password: str | None = PASSWORD,
        kind: sessions.CredentialKind = "password",
    ) -> Person:
        with UnitOfWork(self.state.database) as work:
            user = users.create(
                work,
                email=f"{username}@example.com",
                username=username,
                name=username.title(),
                password_hash=password_hash(password) if password else None,
                superuser=superuser,
            )
            return self._begin(work, user, kind)

    def again(self, person: Person, kind: sessions.CredentialKind = "password") -> Person:
        """Another session of the same person."""
        with UnitOfWork(self.state.database) as work:
            return self._begin(work, users.get(work, person.id), kind)

    def _begin(self, work: UnitOfWork, user: User, kind: sessions.CredentialKind) -> Person:
        issued = sessions.begin(work, self.state, user, kind, sessions.Place("192.0.2.1", "test"))
        return Person(user.id, user.username, user.email, issued.token, issued.session_id)

    def call(self, method: str, path: str, by: Person | None = None, **arguments: Any) -> Any:
        """Sends a request to the API."""
        headers = (by.auth if by else {}) | arguments.pop("headers", {})
        return self.client.request(method, f"/api/v1{path}", headers=headers, **arguments)

    def made(self, method: str, path: str, by: Person | None = None, **arguments: Any) -> Any:
        """Sends a request that must succeed and returns the answer's body."""
        response = self.call(method, path, by, **arguments)
        assert response.status_code < 300, response.text
        return response.json() if response.content else None

    def client_secret(self, tenant_id: str) -> str:
        with self.state.database.read() as db:
            tenant = db.get(Tenant, uuid.UUID(tenant_id))
            assert tenant is not None
            return self.state.keys.master.open(tenant.client_secret, associated_data("tenants", "client", tenant_id))

    def audited(self) -> int:
        with self.state.database.read() as db:
            return db.scalar(select(func.count()).select_from(AuditEvent)) or 0

    def events(self, action: str) -> list[AuditEvent]:
        with self.state.database.read() as db:
            return list(db.scalars(select(AuditEvent).where(AuditEvent.action == action).order_by(AuditEvent.sequence)))

    def close(self, *, keep: bool = False) -> None:
        """Ends it; `keep` leaves its database for others to open or to copy."""
        self._stack.close()
        self.state.database.close()
        if not keep:
            databases.forget(self.directory)


@dataclass(frozen=True)
class Settled:
    """A world with an organization `acme`, its tenant `staging`, and people."""

    world: World
    root: Person
    admin: Person
    stranger: Person
    organization: dict[str, Any]
    tenant: dict[str, Any]

    def with_world(self, world: World) -> Settled:
        return replace(self, world=world)


def settle(world: World) -> Settled:
    """Fills a world."""
    root = world.user("root", superuser=True)
    admin = world.user("ada")
    stranger = world.user("mallory")
    organization = world.made("POST", "/organizations", root, json={"name": "acme"})
    world.made("POST", "/organizations/acme/members", root, json={"user": "ada", "roles": ["organization_admin"]})
    world.made("POST", "/organizations", root, json={"name": "other"})
    world.made("POST", "/organizations/other/members", root, json={"user": "mallory", "roles": ["organization_admin"]})
    tenant = world.made("POST", "/tenants", admin, json={"name": "staging", "organization": "acme"})
    return Settled(world, root, admin, stranger, organization, tenant)
