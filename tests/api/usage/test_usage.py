"""Usage: each resource once, limits of tenants and organizations, batches, and what a server may not report."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from nagaya.access.compiler import compile_policies
from nagaya.tenants.platform import platform_of
from tests.api.rbac.servers import Server, enroll
from tests.api.world import Settled


def event(server: Server, resource: str | None = "a", feature: str = "pipeline", total: int = 1, **more: Any) -> Any:
    organization = server.settled.organization["id"]
    metadata = {"workspace_id": server.id} | ({} if resource is None else {"resource_id": resource})
    return {"organization_id": organization, "feature": feature, "total": total, "metadata": metadata} | more


def report(server: Server, *args: Any, **more: Any) -> bool:
    answer = server.call("POST", "/usage-event", json=event(server, *args, **more))
    # A server takes anything but 200 with JSON for a failure, although its resource is made already.
    assert answer.status_code == 200, answer.text
    return bool(answer.json()["counted"])


def counts(server: Server) -> dict[str, int]:
    found: dict[str, int] = server.read()["usage_counts"]
    return found


def test_each_resource_counts_once_until_it_is_deleted(settled: Settled) -> None:
    server = enroll(settled)
    assert [report(server, each) for each in ("a", "a", "b", "a")] == [True, False, True, False]
    assert report(server, "a", "model")
    assert counts(server) == {"model": 1, "pipeline": 2}
    assert [report(server, "a", total=-1) for _ in range(2)] == [True, False]
    # Late repetitions do not bring it back, and a deletion may come before the report of the making.
    assert not report(server, "a")
    assert not report(server, "c", total=-1)
    assert not report(server, "c")
    assert counts(server) == {"model": 1, "pipeline": 1}
    usage = settled.world.made("GET", "/organizations/acme/usage", settled.admin)
    assert {each["tenant"]: each["features"] for each in usage} == {"elsewhere": counts(server), "staging": {}}


def test_other_shapes_of_events(settled: Settled) -> None:
    server = enroll(settled)
    assert report(server, "a", metadata={"tenant_id": server.id, "resource_id": "a", "more": [1, {}]})
    assert report(server, "b", organization_id="unknown")
    assert report(server, "c", "hologram", extra="ignored")
    # Without an id nothing tells one from the other.
    assert [report(server, None) for _ in range(2)] == [True, True]
    assert report(server, "\x00" * 3 + "nul")
    assert report(server, "x" * 500)
    assert not report(server, "x" * 64)
    assert counts(server) == {"hologram": 1, "pipeline": 6}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"organization_id": str(uuid.uuid4())}, 403),
        ({"metadata": {"workspace_id": str(uuid.uuid4()), "resource_id": "a"}}, 403),
        ({"metadata": {"tenant_id": str(uuid.uuid4()), "resource_id": "a"}}, 403),
        ({"total": 2}, 422),
        ({"total": 0}, 422),
        ({"feature": ""}, 422),
        ({"feature": "x" * 65}, 422),
        ({"feature": "nul\x00"}, 422),
        ({"metadata": "none"}, 422),
    ],
)
def test_what_is_not_the_servers_own_usage_is_refused(settled: Settled, change: dict[str, Any], status: int) -> None:
    server = enroll(settled)
    answer = server.call("POST", "/usage-event", json=event(server) | change)
    assert (answer.status_code, bool(answer.json()["detail"])) == (status, True)
    batch = server.call("POST", "/usage-batch", json=[event(server, "z"), event(server) | change])
    assert batch.status_code == status
    assert counts(server) == {}


def test_a_batch_is_taken_as_a_whole(settled: Settled) -> None:
    server = enroll(settled)
    events = [event(server, "a"), event(server, "a"), event(server, "b"), event(server, "b", total=-1)]
    answer = server.call("POST", "/usage-batch", json=events)
    assert [each["counted"] for each in answer.json()] == [True, False, True, True]
    assert counts(server) == {"pipeline": 1}
    assert server.call("POST", "/usage-batch", json=[]).status_code == 422
    many = [event(server, f"r{number}", "pipeline_run") for number in range(1000)]
    assert server.call("POST", "/usage-batch", json=many).status_code == 200
    assert server.call("POST", "/usage-batch", json=many).json()[0]["counted"] is False
    assert counts(server)["pipeline_run"] == 1000
    assert server.call("POST", "/usage-batch", json=[*many, event(server)]).status_code == 422


def entitled(server: Server, feature: str = "pipeline") -> Any:
    return server.call("GET", f"/organizations/{server.settled.organization['id']}/entitlement/{feature}")


def test_limits_answer_402_as_json(settled: Settled) -> None:
    world, server = settled.world, enroll(settled)
    assert entitled(server).json() == {"feature": "pipeline", "entitled": True}
    path = f"/tenants/{server.id}/limits"
    assert world.made("PUT", path, settled.admin, json={"limits": {"pipeline": 1}}) == {"limits": {"pipeline": 1}}
    assert entitled(server).status_code == 200
    report(server)
    refused = entitled(server)
    assert (refused.status_code, refused.json()["error"]) == (402, "LimitReached")
    assert "1 of 1" in refused.json()["detail"]
    assert entitled(server, "model").status_code == 200
    assert entitled(server, "no such feature").status_code == 200
    report(server, total=-1)
    assert entitled(server).status_code == 200
    assert world.made("GET", f"/workspaces/{server.id}/limits", settled.admin) == {"limits": {"pipeline": 1}}
    assert world.made("PUT", path, settled.admin, json={"limits": {}}) == {"limits": {}}
    for bad in ({"limits": {"Pipeline": 1}}, {"limits": {"pipeline": -1}}, {"limits": []}, {}):
        assert world.call("PUT", path, settled.admin, json=bad).status_code == 422


def test_a_limit_of_the_organization_counts_all_its_tenants(settled: Settled) -> None:
    world, first, second = settled.world, enroll(settled), enroll(settled, "another")
    world.made("PUT", "/organizations/acme/limits", settled.admin, json={"limits": {"model": 2, "project": 0}})
    assert world.made("GET", "/organizations/acme/limits", settled.admin)["limits"] == {"model": 2, "project": 0}
    report(first, "a", "model")
    assert entitled(second, "model").status_code == 200
    report(second, "b", "model")
    assert "of this organization" in entitled(first, "model").json()["detail"]
    assert entitled(first, "project").status_code == 402
    # Administrators of a tenant cannot lift what the organization has set for it.
    grace = world.user("grace")
    world.made("POST", "/organizations/acme/members", settled.admin, json={"user": "grace"})
    member = {"user": "grace", "roles": ["tenant_admin"]}
    world.made("POST", f"/tenants/{first.id}/members", settled.admin, json=member)
    assert world.call("PUT", f"/tenants/{first.id}/limits", grace, json={"limits": {}}).status_code == 403
    assert world.call("PUT", "/organizations/acme/limits", grace, json={"limits": {}}).status_code == 403
    other = Server(settled, first.tenant, first.token)
    foreign = other.call("GET", f"/organizations/{uuid.uuid4()}/entitlement/model")
    assert (foreign.status_code, settled.organization["id"] in foreign.json()["detail"]) == (403, True)


def test_hosted_tenants_learn_of_reached_limits_by_their_policy(settled: Settled) -> None:
    world = settled.world
    hosted = uuid.UUID(settled.tenant["id"])
    token = world.state.tokens.issue("server", hosted, audience="nagaya-server", seconds=60)
    server = Server(settled, settled.tenant, token)

    def limits() -> tuple[int, Any]:
        with world.state.database.read() as session:
            issuer = platform_of(world.state).issuer
            document = compile_policies(session, [hosted], issuer, world.clock())[hosted]
            return document["version"], document["limits"]

    world.made("PUT", "/organizations/acme/limits", settled.admin, json={"limits": {"pipeline": 1}})
    version, found = limits()
    assert found == {}
    report(server)
    assert limits() == (version + 1, {"pipeline": 0})
    report(server, "b")
    assert limits()[0] == version + 1
    report(server, total=-1)
    report(server, "b", total=-1)
    assert limits() == (version + 2, {})
