"""Every route of the real application × everybody who may come: nothing succeeds that the roles do not allow."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from cloud import ISSUER, Cloud, grant
from expectations import Demand, demands
from seed import Seed

from nagaya_policy.catalogue import is_project_scoped
from nagaya_policy.roles import MEMBER_PERMISSIONS, PREDEFINED_ROLES
from nagaya_tenant.routes import routes_of
from nagaya_tenant.version import installed

if TYPE_CHECKING:
    from world import Answer, World

# What these answer, in this mode of ZenML, to everybody who may use them, where others get a success.
INSTEAD_OF_SUCCESS = {
    # ZenML calls its own store with a wrong argument, in an unguarded server too.
    "DELETE /api/v1/artifact_versions": 500,
    # The platform's dashboard takes the place of ZenML's.
    "GET /": 307,
    "GET /{file_path:path}": 307,
    "GET /api/{invalid_api_path:path}": 404,
}
MEMBERS = {
    "admin": ("tenant_admin", False),
    "developer": ("tenant_developer", False),
    "contributor": ("tenant_contributor", False),
    "viewer": ("tenant_viewer", False),
    "stack-admin": ("stack_admin", False),
    "visitor": ("tenant_visitor", False),
    "organization-admin": ("tenant_admin", False),
    "project-admin": ("project_admin", True),
    "project-developer": ("project_developer", True),
    "project-contributor": ("project_contributor", True),
    "project-viewer": ("project_viewer", True),
}
REDUCED = ("viewer", "contributor", "project-developer", "removed", "nobody", "run of developer")
"""Who comes when NAGAYA_TEST_MATRIX is `reduced`: one of each kind; for engines beside the default one."""
STRANGERS = ("nobody", "other tenant", "removed", "organization-member", "local account", "system user")
RUNS = ("run of developer", "run of admin")
# These succeed without being a permission's matter: the answer is the same whoever asks.
NOT_PERMISSIONS = {"GET /api/v1/stack-deployment/stack"}
# A valid request needs something that this tenant has not (a cloud, a file, a broker, a workload manager).
NEVER_SUCCEED_HERE = {
    "GET /api/v1/artifact_versions/{artifact_version_id}/data",
    "GET /api/v1/artifact_versions/{artifact_version_id}/download-token",
    "GET /api/v1/artifact_versions/{artifact_version_id}/visualize",
    "GET /api/v1/logs/{logs_id}/entries",
    "GET /api/v1/pipeline_snapshots/{snapshot_id}/download-token",
    "GET /api/v1/runs/{pipeline_run_id}/events/stream",
    "GET /api/v1/runs/{run_id}/logs",
    "GET /api/v1/service_accounts/{service_account_id}/api_keys",
    "GET /api/v1/service_accounts/{service_account_id}/api_keys/{api_key_name_or_id}",
    "GET /api/v1/service_accounts/{service_account_name_or_id}",
    "GET /api/v1/service_connectors/{connector_id}/client",
    "GET /api/v1/stack-deployment/config",
    "GET /api/v1/steps/{step_id}/logs",
    "GET /api/v1/webhooks/{webhook_id}/events/raw",
    "POST /api/v1/code_repositories",
    "POST /api/v1/run_templates",
    "POST /api/v1/runs/{pipeline_run_id}/events",
    "POST /api/v1/service_connectors/full_stack_resources",
    "POST /api/v1/service_connectors/verify",
    "POST /api/v1/workspaces/{project_name_or_id}/code_repositories",
    "POST /api/v1/workspaces/{project_name_or_id}/run_templates",
    "PUT /api/v1/secrets_operations/backup",
    "PUT /api/v1/secrets_operations/restore",
    "PUT /api/v1/service_connectors/{connector_id}/verify",
    "PUT /api/v1/triggers/{trigger_id}/pipeline_snapshots/{snapshot_id}",
    "POST /api/v1/runs/{run_id}/refresh",
    "POST /api/v1/runs/{run_id}/stop",
}


@pytest.fixture(scope="module")
def seeded(world: World) -> Seed:
    world.reset()
    return Seed(world)


class Snapshot:
    """The database as it was, to be put back after a request that changed it."""

    def __init__(self, world: World) -> None:
        self._live = world.directory / "zenml.db"
        self._copy = sqlite3.connect(":memory:")
        with sqlite3.connect(self._live) as live:
            live.backup(self._copy)

    def restore(self) -> None:
        with sqlite3.connect(self._live) as live:
            self._copy.backup(live)


def allowed(role: str, in_project: bool, permission: str) -> bool:
    """Whether a role gives a permission in the seeded project or the tenant, by the role's own list."""
    resource_type = permission.partition(":")[0]
    if permission in MEMBER_PERMISSIONS or (PREDEFINED_ROLES[role].full and not in_project):
        return True
    if in_project and not is_project_scoped(resource_type) and resource_type not in {"project", "tag"}:
        return False
    return permission in PREDEFINED_ROLES[role].permissions


def permitted(demand: Demand, who: str) -> bool:
    if demand.kind == "public":
        return True
    if demand.kind == "refused" or who in STRANGERS:
        return False
    if who in RUNS:
        return demand.run and permitted(demand, who.removeprefix("run of "))
    role, in_project = MEMBERS[who]
    # Every member sees a project of which it is a member through a project role.
    return demand.kind in {"member", "lists"} or all(allowed(role, in_project, each) for each in demand.permissions)


def tokens(world: World, seed: Seed) -> dict[str, str | None]:
    from zenml.zen_server.jwt import JWTToken

    found: dict[str, str | None] = {name: world.login(name) for name in MEMBERS}
    for name in ("developer", "admin"):
        principal = world.parts.policy.current().principal(world.members[name])
        account = world.parts.principals.ensure(principal)
        found[f"run of {name}"] = JWTToken(user_id=account, pipeline_run_id=UUID(seed.ids["run_id"])).encode()
    for name in ("removed", "organization-member"):
        principal = world.cloud.member(name, grant("tenant_admin"))
        world.apply()
        found[name] = world.login(principal)
        del world.cloud.principals[principal]
    world.apply()
    other = Cloud()
    found["other tenant"] = other.token(other.member("mallory", grant("tenant_admin")), "tenant")
    found["system user"] = JWTToken(user_id=world.system_user).encode()
    found["local account"] = JWTToken(user_id=uuid4()).encode()
    found["nobody"] = None
    reduced = os.environ.get("NAGAYA_TEST_MATRIX") == "reduced"
    return {name: found[name] for name in REDUCED} if reduced else found


def test_the_table_of_expectations_is_complete(world: World) -> None:
    assert set(demands(installed())) == set(routes_of(world.zenml))


@pytest.mark.timeout(600)
def test_nothing_succeeds_that_is_not_allowed(world: World, seeded: Seed, capsys: pytest.CaptureFixture[str]) -> None:
    table = demands(installed())
    bearer = tokens(world, seeded)
    snapshot = Snapshot(world)
    wrong: list[str] = []
    never = set()
    combinations = successes = 0
    for (method, template), demand in table.items():
        reached = False
        instead = INSTEAD_OF_SUCCESS.get(f"{method} {template}")
        for who, token in bearer.items():
            answer = _ask(world, seeded, method, template, token)
            combinations += 1
            succeeded = answer.status == instead if instead else 200 <= answer.status < 300
            if succeeded and method not in {"GET", "HEAD"}:
                snapshot.restore()
            expected = permitted(demand, who)
            reached = reached or succeeded
            successes += succeeded
            case = f"{method} {template} as {who}: {answer.status} {answer.body[:200]!r}"
            if succeeded and not expected:
                wrong.append("allowed: " + case)
            elif succeeded and demand.kind == "lists" and _shows_others(demand, who, seeded, template, answer):
                wrong.append("shown: " + case)
            elif expected and ((instead and not succeeded) or (_denied(answer) and template != "/api/v1/login")):
                wrong.append("refused: " + case)
            elif answer.status >= 500 and answer.status != 501 and not succeeded:
                wrong.append("broken: " + case)
        if not reached and demand.kind != "refused":
            never.add(f"{method} {template}")
    with capsys.disabled():
        print(f"\n{combinations} combinations of {len(table)} routes and {len(bearer)} callers, {successes} successes")
    assert not wrong, "\n".join(wrong)
    if len(bearer) == len(REDUCED):
        # Without administrators much is not reached.
        return
    unreached = sorted(never - NEVER_SUCCEED_HERE - NOT_PERMISSIONS)
    assert not unreached, "no request succeeded:\n" + "\n".join(unreached)


@pytest.mark.parametrize("path", ["/", "/somewhere"])
def test_pages_lead_to_the_platform_whoever_asks(world: World, path: str) -> None:
    answer = world.request("GET", path)
    assert answer.status == 307
    assert answer.headers["location"].startswith(f"{ISSUER}/o/acme/")


def _denied(answer: Answer) -> bool:
    """Whether somebody was kept out, and not: something cannot be done in the state that the object is in."""
    reasons = (b"Insufficient permissions", b"A token of a run", b"belongs to the platform")
    return answer.status == 401 or (answer.status == 403 and any(each in answer.body for each in reasons))


def _ask(world: World, seed: Seed, method: str, template: str, token: str | None) -> Answer:
    body = seed.body(method, template)
    return world.request(
        method,
        seed.path(template),
        token,
        query=seed.query(method, template),
        json=body,
        headers={"idempotency-key": str(uuid4()), "x-request-id": str(time.monotonic_ns())},
    )


def _shows_others(demand: Demand, who: str, seed: Seed, template: str, answer: Answer) -> bool:
    """Whether a list contains an object of the owner that the caller may not read."""
    role, in_project = MEMBERS[who.removeprefix("run of ")]
    if all(allowed(role, in_project, each) for each in demand.permissions):
        return False
    if template.endswith(("/projects", "/workspaces")) and in_project:
        return False
    found: Any = json.loads(answer.body)
    items = found["items"] if isinstance(found, dict) else found
    own = {value for name, value in seed.ids.items() if not name.startswith("platform") and name != "artifact_store"}
    return any(each.get("id") in own - {seed.ids["orchestrator"]} for each in items)
