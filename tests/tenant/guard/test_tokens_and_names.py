"""What engines do differently and tenants must not: undated tokens, tokens that outlive, names that are taken."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import jwt
import pytest
from cloud import grant
from seed import Seed

if TYPE_CHECKING:
    from world import World


@pytest.fixture(scope="module")
def seeded(world: World) -> Seed:
    world.reset()
    return Seed(world)


def claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return found


def workload_token(tenant: World, seeded: Seed, member: str) -> str:
    query = {"token_type": "workload", "pipeline_run_id": seeded.ids["run_id"]}
    answer = tenant.request("GET", "/api/v1/api_token", tenant.login(member), query=query)
    assert answer.status == 200, answer.body
    return str(answer.json())


def test_every_token_says_when_it_was_issued(tenant: World, seeded: Seed) -> None:
    for token in (tenant.login("developer"), workload_token(tenant, seeded, "developer")):
        assert abs(claims(token)["iat"] - time.time()) < 60


def test_tokens_of_runs_end_with_the_revocation_of_their_principal(tenant: World, seeded: Seed) -> None:
    token = workload_token(tenant, seeded, "developer")
    path = f"/api/v1/runs/{seeded.ids['run_id']}"
    assert tenant.request("GET", path, token).status == 200
    tenant.cloud.principals[tenant.members["developer"]]["valid_after"] = int(time.time()) + 2
    tenant.apply()
    assert tenant.request("GET", path, token).status == 401


def test_tokens_of_a_deployment_end_with_it(tenant: World, seeded: Seed) -> None:
    from zenml.zen_server.jwt import JWTToken

    body = seeded.body("POST", "/api/v1/deployments")
    deployment = tenant.request("POST", "/api/v1/deployments", seeded.token, json=body).json()["id"]
    principal = tenant.parts.policy.current().principal(tenant.members["owner"])
    account = tenant.parts.principals.ensure(principal)
    token = JWTToken(user_id=account, deployment_id=UUID(deployment)).encode()
    path = f"/api/v1/deployments/{deployment}"
    assert tenant.request("GET", path, token).status == 200
    assert tenant.request("DELETE", path, seeded.token).status == 200
    refused = tenant.request("GET", "/api/v1/current-user", token)
    assert refused.status == 401, refused.body


def maker(tenant: World) -> str:
    """A token of somebody who may make snapshots and delete only own ones."""
    permissions = [
        f"{each}:read" for each in ("project", "pipeline", "stack", "stack_component", "pipeline_deployment")
    ]
    tenant.cloud.roles["maker"] = {"level": "tenant", "permissions": [*permissions, "pipeline_deployment:create"]}
    principal = tenant.cloud.member(f"maker-{uuid4().hex[:6]}", grant("maker"))
    tenant.apply()
    return tenant.login(principal)


def snapshot(seeded: Seed, name: str, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = seeded.body("POST", "/api/v1/pipeline_snapshots")
    return {**body, "name": name, **fields}


@pytest.mark.parametrize(
    "path", ["pipeline_snapshots", "pipeline_deployments", "workspaces/{project}/pipeline_deployments"]
)
def test_a_name_is_not_taken_from_a_snapshot_that_may_not_be_deleted(tenant: World, seeded: Seed, path: str) -> None:
    name = f"named-{uuid4().hex[:8]}"
    made = tenant.request("POST", "/api/v1/pipeline_snapshots", seeded.token, json=snapshot(seeded, name))
    assert made.status == 200, made.body
    address = "/api/v1/" + path.format(project=seeded.ids["project"])
    other = maker(tenant)
    taken = tenant.request("POST", address, other, json=snapshot(seeded, name, replace=True))
    assert taken.status == 403, taken.body
    assert b"to DELETE" in taken.body
    found = tenant.request("GET", f"/api/v1/pipeline_snapshots/{made.json()['id']}", seeded.token).json()
    assert found["name"] == name
    replaced = tenant.request("POST", address, seeded.token, json=snapshot(seeded, name, replace=True))
    assert replaced.status == 200, replaced.body


def test_a_renamed_snapshot_takes_no_name_either(tenant: World, seeded: Seed) -> None:
    name = f"named-{uuid4().hex[:8]}"
    first = tenant.request("POST", "/api/v1/pipeline_snapshots", seeded.token, json=snapshot(seeded, name)).json()["id"]
    other = maker(tenant)
    own = tenant.request("POST", "/api/v1/pipeline_snapshots", other, json=snapshot(seeded, f"{name}-own"))
    assert own.status == 200, own.body
    path = f"/api/v1/pipeline_snapshots/{own.json()['id']}"
    assert tenant.request("PUT", path, other, json={"name": name, "replace": True}).status == 403
    assert tenant.request("GET", f"/api/v1/pipeline_snapshots/{first}", seeded.token).json()["name"] == name
    assert tenant.request("PUT", path, other, json={"name": f"{name}-new", "replace": True}).status == 200
