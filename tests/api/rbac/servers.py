"""An enrolled server as the tests of its endpoints need it: a tenant, a key, a token, headers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.api.world import Settled

URL = "https://zenml.example.com"


@dataclass
class Server:
    """A server outside of the platform.

    Args:
        settled: The world.
        tenant: The answer to its enrollment.
    """

    settled: Settled
    tenant: dict[str, Any]
    token: str = ""

    @property
    def id(self) -> str:
        return str(self.tenant["id"])

    @property
    def key(self) -> str:
        return str(self.tenant["enrollment_key"])

    def sign_in(self, key: str | None = None) -> int:
        """Signs in as ZenML does; returns the status."""
        form = {"client_id": self.id, "client_secret": key or self.key, "audience": "nagaya-server"}
        form["grant_type"] = "client_credentials"
        answer = self.settled.world.call("POST", "/auth/login", data=form)
        if answer.status_code == 200:
            self.token = answer.json()["access_token"]
        return int(answer.status_code)

    def call(self, method: str, path: str, **arguments: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} | arguments.pop("headers", {})
        return self.settled.world.call(method, path, headers=headers, **arguments)

    def report(self, version: str = "0.98.0", url: str | None = URL, path: str = "/workspace_status") -> Any:
        """Reports as a server does at the end of its start."""
        headers = {"zenml-server-id": self.id, "zenml-server-version": version}
        if url is not None:
            headers["zenml-server-url"] = url
        return self.call("PATCH", path, headers=headers)

    def read(self) -> dict[str, Any]:
        found: dict[str, Any] = self.settled.world.made("GET", f"/tenants/{self.id}", self.settled.admin)
        return found


def enroll(settled: Settled, name: str = "elsewhere", **fields: Any) -> Server:
    """Enrolls a server and signs it in."""
    body = {"name": name, "organization": "acme"} | fields
    server = Server(settled, settled.world.made("POST", "/tenants?enroll=true", settled.admin, json=body))
    assert server.sign_in() == 200
    return server
