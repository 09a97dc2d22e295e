"""One tenant in this process: the real ZenML application behind the guard, with a loop of its own in a thread."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID, uuid4

from cloud import ISSUER, Cloud, FakeApi, grant

from nagaya_tenant import asgi, profile, stamp

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

ROOT_PATH = "/t/acme/staging"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class World:
    """The application, its platform and its members."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cloud = Cloud()
        self.system_user = uuid4()
        self.project = uuid4()
        self.api = FakeApi(directory / "channel.sock")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._stopped: asyncio.Event
        self._life: Any = None
        self.members: dict[str, str] = {}

    def run(self, work: Coroutine[Any, Any, Any], seconds: float = 60) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    def start(self) -> None:
        self._prepare()
        with warnings.catch_warnings():
            # What ZenML's own imports deprecate is not ours to repair.
            warnings.simplefilter("ignore")
            from zenml.zen_server import zen_server_api  # noqa: F401  # the slow part

            from nagaya_tenant import application, hooks
            from nagaya_tenant.settings import TenantSettings

        self.settings = TenantSettings.from_environment(os.environ)
        self.zenml = hooks.apply(self.settings)
        self.zenml.root_path = ROOT_PATH
        self._thread.start()
        self.run(self.api.start())
        self.standard_members()
        self.app = self.run(self._build(application))
        self.parts = self.app.tenant

    async def _build(self, application: Any) -> Any:
        app = application.build(self.zenml, self.settings, self.cloud.document())
        self._life = asgi.lifespan(app)
        await self._life.__aenter__()
        return app

    def stop(self) -> None:
        self.run(self._life.__aexit__(None, None, None))
        self.run(self.api.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def reset(self) -> None:
        """Standard members, no revocations, a platform that answers."""
        self.cloud.revoked.clear()
        self.cloud.roles.clear()
        self.standard_members()
        self.apply()
        self.app._guard._admission._asked.clear()
        self.api.behaviour = "answers"
        self.api.document = None
        self.api.share_answer = (200, {})
        self.api.shares.clear()

    def standard_members(self) -> None:
        project = str(self.project)
        grants = {
            "owner": [grant("tenant_admin")],
            "admin": [grant("tenant_admin")],
            "developer": [grant("tenant_developer")],
            "contributor": [grant("tenant_contributor")],
            "viewer": [grant("tenant_viewer")],
            "stack-admin": [grant("stack_admin")],
            "visitor": [grant("tenant_visitor", via="organization role organization_viewer")],
            "organization-admin": [grant("tenant_admin", via="organization role organization_admin")],
            "project-admin": [grant("project_admin", project)],
            "project-developer": [grant("project_developer", project)],
            "project-contributor": [grant("project_contributor", project)],
            "project-viewer": [grant("project_viewer", project)],
        }
        self.cloud.principals.clear()
        for name, held in grants.items():
            self.members[name] = self.cloud.member(name, *held, id=self.members.get(name))

    def apply(self) -> None:
        """Puts the cloud's present policy in force."""
        self.parts.policy.apply_snapshot(self.cloud.document())
        self.parts.policy.alive()

    def request(
        self,
        method: str,
        path: str,
        token: str | None = None,
        *,
        query: Any = None,
        json: Any = None,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request through the guard."""
        head = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        if token is not None:
            head.append((b"authorization", f"Bearer {token}".encode()))
        if json is not None:
            body = _json(json)
            head.append((b"content-type", b"application/json"))
        text = query if isinstance(query, str) else urlencode(query or {}, doseq=True)
        answer = self.run(asgi.call(self.app, path, method=method, query=text, headers=tuple(head), body=body or b""))
        return Answer(answer.status, {k.decode().lower(): v.decode() for k, v in answer.headers}, answer.body)

    def login(self, member: str, **claims: Any) -> str:
        """A ZenML token of a member, by the exchange that clients make."""
        answer = self.request(
            "POST",
            "/api/v1/login",
            self.cloud.token(self.members.get(member, member), **claims),
            body=b"grant_type=zenml-external",
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        assert answer.status == 200, answer.body
        return answer.json()["access_token"]

    def sql(self, query: str, *values: Any) -> list[Any]:
        with sqlite3.connect(self.directory / "zenml.db") as connection:
            return connection.execute(query, values).fetchall()

    def _prepare(self) -> None:
        template = self.directory / "template.db"
        subprocess.run([sys.executable, "-m", "nagaya_tenant.template", str(template)], check=True, capture_output=True)
        order = stamp.StampOrder(
            template=template,
            server_id=UUID(self.cloud.tenant),
            server_name="staging",
            project_id=self.project,
            project_name="default",
            system_user_id=self.system_user,
            system_user_name="nagaya",
        )
        stamp.ensure_database(order, self.directory / "zenml.db")
        profile.use_placeholders(os.environ)
        os.environ.update(
            {
                "ZENML_CONFIG_PATH": str(self.directory / "config"),
                "ZENML_STORE_URL": f"sqlite:///{self.directory}/zenml.db",
                "ZENML_SECRETS_STORE_TYPE": "sql",
                "ZENML_SECRETS_STORE_ENCRYPTION_KEY": uuid4().hex,
                "ZENML_SERVER_JWT_SECRET_KEY": uuid4().hex + uuid4().hex,
                "ZENML_SERVER_SERVER_URL": ISSUER + ROOT_PATH,
                "ZENML_SERVER_PRO_API_URL": f"{ISSUER}/api/v1",
                "ZENML_SERVER_PRO_DASHBOARD_URL": f"{ISSUER}/o/acme",
                "ZENML_SERVER_PRO_ORGANIZATION_ID": self.cloud.organization,
                "ZENML_SERVER_PRO_WORKSPACE_ID": self.cloud.tenant,
                "NAGAYA_TENANT_ID": self.cloud.tenant,
                "NAGAYA_ORGANIZATION_ID": self.cloud.organization,
                "NAGAYA_PUBLIC_URL": ISSUER,
                "NAGAYA_ROOT_PATH": ROOT_PATH,
                "NAGAYA_CHANNEL_SOCKET": str(self.api.path),
                "NAGAYA_CHANNEL_TOKEN": "channel-token",
                "NAGAYA_SYSTEM_USER_ID": str(self.system_user),
                "NAGAYA_OUTBOX": str(self.directory / "outbox.db"),
            }
        )


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
