"""Fixtures of the generated requests: one seeded world per operation, and what is known in it."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from harness.fuzzing import Answered, Fuzzer, Sent
from nagaya.errors import NotFound
from nagaya.http.logs import configure
from tests.api.world import PUBLIC_URL, Settled, World, settle

EXAMPLES = int(os.environ.get("NAGAYA_FUZZ_EXAMPLES", "12"))
"""Generated requests per operation; `./run prove fuzz` sets more."""
SEED = int(os.environ.get("NAGAYA_FUZZ_SEED", "20261123"))
UUID = "00000000-0000-4000-8000-0000000000"
"""Beginning of placeholders for ids: the generated requests must not depend on ids that differ from run to run."""
ORGANIZATION, TENANT, ADA, ROOT, SESSION, KEY, MACHINE, DEVICE = (f"{UUID}{number:02}" for number in range(1, 9))
KNOWN = {
    "organization": ["acme", ORGANIZATION, "other"],
    "organization_id": [ORGANIZATION],
    "org_id": [ORGANIZATION],
    "tenant": ["staging", TENANT],
    "tenant_id": [TENANT],
    "workspace_id": [TENANT],
    "server_id": [TENANT],
    "name": ["acme", "staging"],
    "tenant_name": ["staging", "acme/staging"],
    "workspace_name": ["staging", "acme/staging"],
    "user": ["ada", "root", ADA],
    "user_id": [ADA, ROOT],
    "principal_id": [ADA, ROOT, MACHINE],
    "session_id": [SESSION],
    "key_id": [KEY],
    "account_id": [MACHINE],
    "device_id": [DEVICE],
    "id_or_code": [DEVICE, "BCDF-GHJK"],
    "feature": ["pipeline", "pipeline_run", "project"],
    "username": ["ada"],
    "grant_type": ["password", "client_credentials", "urn:ietf:params:oauth:grant-type:device_code"],
    "roles": ["organization_admin", "organization_member", "tenant_admin", "tenant_developer", "project_admin"],
    "role": ["organization_admin", "organization_member", "tenant_admin", "tenant_developer"],
    "permission": ["tenant:read", "pipeline:read"],
}
"""What the seeded world knows, by name of a parameter or of a property of a body."""


@dataclass
class Stage:
    """A seeded world and the people who send requests.

    Args:
        settled: The world.
        ids: What placeholders stand for.
        machine: API key of a service account of the organization.
    """

    settled: Settled
    ids: dict[str, str]
    machine: str

    @property
    def world(self) -> World:
        """The application."""
        return self.settled.world

    def send(self, sent: Sent, headers: dict[str, str]) -> Answered:
        """Sends a request with these headers besides its own."""
        filled = sent.filled(self.ids)
        answer = self.world.client.request(
            filled.method, PUBLIC_URL + filled.target, headers={**filled.headers, **headers}, content=filled.body
        )
        return Answered(answer.status_code, dict(answer.headers), answer.content)

    def credentials(self, number: int, *, server: bool) -> dict[str, str]:
        """Credentials of those who take turns, each time in a new session: the request before may have ended the last.

        Args:
            number: Number of the request.
            server: Whether the operation is for ZenML servers, which have tokens of their own.
        """
        if server:
            tenant = uuid.UUID(self.settled.tenant["id"])
            token = self.world.state.tokens.issue("server", tenant, audience="nagaya-server", seconds=600)
            return {"Authorization": f"Bearer {token}"}
        callers = [self.settled.root, self.settled.admin, self.settled.root, self.settled.stranger, None]
        caller = callers[number % len(callers)]
        if caller is None:
            return {"Authorization": f"Bearer {self.machine}"}
        try:
            return self.world.again(caller).auth
        except NotFound:  # An earlier request has deleted this account.
            return caller.auth


def build(directory: Path) -> Stage:
    """Fills a data directory."""
    world = World(directory)
    settled = settle(world)
    machine = world.made("POST", "/organizations/acme/service_accounts", settled.admin, json={"name": "ci-bot"})
    key = world.made("POST", "/users/me/api_keys", settled.admin, json={"name": "laptop"})
    form = {"client_id": "7a1cbf0a-2f8e-4f9e-9f0c-6a2f2b6f0c11"}
    device = world.made("POST", "/auth/device_authorization", data=form)
    decided = world.made("PUT", "/devices/verify", settled.admin, json=_approval(device, settled))
    account = world.made(
        "POST", f"/organizations/acme/service_accounts/{machine['id']}/api_keys", settled.admin, json={"name": "ci"}
    )
    world.close()
    ids = {
        ORGANIZATION: settled.organization["id"],
        TENANT: settled.tenant["id"],
        ADA: str(settled.admin.id),
        ROOT: str(settled.root.id),
        SESSION: str(settled.admin.session_id),
        KEY: key["id"],
        MACHINE: machine["id"],
        DEVICE: decided["id"],
    }
    return Stage(settled, ids, account["key"])


def _approval(device: dict[str, str], settled: Settled) -> dict[str, object]:
    return {"user_code": device["user_code"], "approve": True, "tenant_id": settled.tenant["id"]}


@cache
def fuzzer() -> Fuzzer:
    """The generator, from the application's own description: what is new in the API is tested without being named."""
    with tempfile.TemporaryDirectory() as directory:
        world = World(Path(directory))
        document = world.app.openapi()
        world.close()
    return Fuzzer(document, KNOWN)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Makes one test of each operation."""
    if "label" in metafunc.fixturenames:
        metafunc.parametrize("label", fuzzer().labels)


@pytest.fixture(scope="session", autouse=True)
def logs() -> None:
    """Writes logs as the real process does, but only what is wrong: there are thousands of requests."""
    configure("ERROR")


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Stage]:
    """A data directory that each operation gets a copy of."""
    directory = tmp_path_factory.mktemp("seeded")
    return directory, build(directory)


@pytest.fixture
def stage(tmp_path: Path, seeded: tuple[Path, Stage]) -> Iterator[Stage]:
    """A world of the test's own."""
    directory, built = seeded
    # Many sign-ins from one address are what is tested here, not an attack.
    world = World(tmp_path / "data", directory, login_attempts=1_000_000)
    yield replace(built, settled=built.settled.with_world(world))
    world.close()
