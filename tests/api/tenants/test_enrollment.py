"""Enrolled servers: keys, what they report, how they live, and what they are refused."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from nagaya.http.internal import create_internal_app
from nagaya.tenants.enrollment import NO_ADDRESS, WAITING
from tests.api.rbac.servers import URL, Server, enroll
from tests.api.world import PUBLIC_URL, Settled, World


def test_a_server_is_waited_for_and_then_available(settled: Settled) -> None:
    server = enroll(settled, description="on our own machines", stage="production")
    made = server.tenant
    assert (made["status"], made["state_reason"], made["enrolled"], made["url"]) == ("pending", WAITING, True, "")
    assert made["zenml_service"] == {"configuration": None, "status": None}
    assert (made["operation"]["kind"], made["operation"]["status"]) == ("enroll", "pending")
    assert len(server.key) == 43
    assert server.report().status_code == 200
    read = server.read()
    assert (read["status"], read["state_reason"], read["url"]) == ("available", "", URL)
    assert read["zenml_service"]["status"] == {"server_url": URL, "version": "0.98.0"}
    assert read["operation"]["status"] == "succeeded"
    assert "enrollment_key" not in read
    # As stock clients look for it.
    found = settled.world.made("GET", f"/workspaces?url={URL}", settled.admin)
    assert [each["id"] for each in found] == [server.id]
    assert settled.world.made("GET", "/tenants?tenant_name=elsewhere", settled.admin)[0]["id"] == server.id


def test_the_key_is_not_stored_and_the_environment_is_complete(settled: Settled) -> None:
    server = enroll(settled)
    settled.world.state.database.close()
    stored = b"".join(path.read_bytes() for path in settled.world.state.settings.data_dir.glob("control/control.db*"))
    assert server.key.encode() not in stored
    environment = server.tenant["environment"]
    assert environment["ZENML_SERVER_PRO_OAUTH2_CLIENT_SECRET"] == server.key
    assert environment["ZENML_SERVER_PRO_WORKSPACE_ID"] == server.id
    assert environment["ZENML_SERVER_PRO_ORGANIZATION_ID"] == settled.organization["id"]
    assert environment["ZENML_SERVER_PRO_API_URL"] == f"{PUBLIC_URL}/api/v1"
    assert environment["ZENML_SERVER_DEPLOYMENT_TYPE"] == "cloud"


def test_repeating_the_request_gives_a_new_key_until_the_server_came(settled: Settled) -> None:
    world, body = settled.world, {"name": "elsewhere", "organization": "acme"}
    headers = {"Idempotency-Key": "once"}

    def again() -> dict[str, Any]:
        made: dict[str, Any] = world.made("POST", "/tenants?enroll=true", settled.admin, json=body, headers=headers)
        return made

    first, second = again(), again()
    assert first["id"] == second["id"]
    assert Server(settled, first).sign_in() == 401
    server = Server(settled, second)
    assert server.sign_in() == 200
    assert again()["enrollment_key"] is None
    assert server.sign_in() == 200
    # The same key does not mean a hosted tenant.
    assert world.call("POST", "/tenants", settled.admin, json=body, headers=headers).status_code == 409


@pytest.mark.parametrize(
    ("version", "url", "words"),
    [
        ("0.75.0", URL, "0.75.1 or newer"),
        ("0.9.1", URL, "0.75.1 or newer"),
        ("", URL, "does not say which ZenML version"),
        ("newest", URL, "does not say which ZenML version"),
        ("0.98.0 or so", URL, "does not say which ZenML version"),
        ("0.98.0", "zenml.example.com", "cannot be the server's address"),
        ("0.98.0", "ftp://zenml.example.com", "cannot be the server's address"),
        ("0.98.0", "https://user:secret@zenml.example.com", "cannot be the server's address"),
        ("0.98.0", "https://zenml.example.com?a=b", "cannot be the server's address"),
        ("0.98.0", "https://zenml.example.com:99999", "cannot be the server's address"),
        ("0.98.0", "https://", "cannot be the server's address"),
        ("0.98.0", f"https://{'x' * 400}", "too long"),
        ("0.98.0", PUBLIC_URL, "platform's own address"),
        ("0.98.0", f"{PUBLIC_URL}/t/acme/staging", "platform's own address"),
        ("0.98.0", "http://169.254.169.254/latest", "no enrolled server may have"),
        ("0.98.0", "http://[fe80::1]:8080", "no enrolled server may have"),
        ("0.98.0", "http://[::ffff:169.254.169.254]", "no enrolled server may have"),
        ("0.98.0", "http://127.0.0.1:8080", "no enrolled server may have"),
        ("0.98.0", "http://0.0.0.0:8080", "no enrolled server may have"),
        ("0.98.0", "http://localhost:8080", "another machine for everybody else"),
    ],
)
def test_a_report_that_cannot_be_used_is_refused_with_the_reason(
    settled: Settled, version: str, url: str, words: str
) -> None:
    server = enroll(settled)
    answer = server.report(version, url)
    assert answer.status_code == 403
    assert words in answer.json()["detail"]
    read = server.read()
    assert (read["status"], read["url"]) == ("pending", "")
    assert read["state_reason"] == answer.json()["detail"]
    assert "secret" not in answer.text
    event = settled.world.events("server.report")[-1]
    assert (event.outcome, event.actor_kind, event.actor_name) == ("denied", "server", "elsewhere")
    # Once that is put right, the server is taken.
    assert server.report().status_code == 200
    assert server.read()["status"] == "available"


def test_an_address_belongs_to_one_tenant(settled: Settled) -> None:
    first, second = enroll(settled), enroll(settled, "another")
    assert first.report(url=f"{URL}/").status_code == 200
    answer = second.report(url="https://ZENML.example.com")
    assert answer.status_code == 403
    assert "another tenant's server" in answer.json()["detail"]
    # It is free again once the other one is deleted.
    world = settled.world
    world.made("PATCH", f"/tenants/{first.id}", settled.admin, json={"protected": False})
    assert world.made("DELETE", f"/tenants/{first.id}", settled.admin)["status"] == "deleted"
    assert second.report().status_code == 200
    restored = world.made("POST", f"/tenants/{first.id}/restore", settled.admin)
    assert (restored["status"], restored["state_reason"]) == ("pending", WAITING)


def test_a_server_that_moves_and_one_without_an_address(settled: Settled) -> None:
    server = enroll(settled)
    assert server.report("0.75.1", "http://10.0.0.7:8080/zenml", "/tenant_status").status_code == 200
    assert server.read()["url"] == "http://10.0.0.7:8080/zenml"
    assert server.report("0.98.1.dev20261001", URL).status_code == 200
    assert server.read()["url"] == URL
    assert server.report(url=None).status_code == 200
    read = server.read()
    assert (read["status"], read["state_reason"], read["url"]) == ("pending", NO_ADDRESS, "")


def test_a_replaced_key_ends_with_all_that_came_out_of_it(settled: Settled) -> None:
    world, server = settled.world, enroll(settled)
    path = f"/tenants/{server.id}/enrollment_key"
    assert server.report().status_code == 200
    answer = world.call("POST", path, settled.admin, json={"overlap_seconds": 600})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    second = answer.json()["enrollment_key"]
    assert answer.json()["environment"] == {"ZENML_SERVER_PRO_OAUTH2_CLIENT_SECRET": second}
    # Both work for a while, then only the new one.
    assert server.report().status_code == 200
    assert server.sign_in() == 200
    old = server.token
    assert server.sign_in(second) == 200
    world.clock.forward(601)
    assert server.sign_in() == 401
    assert server.sign_in(second) == 200
    new, server.token = server.token, old
    assert server.report().status_code == 401
    server.token = new
    assert server.report().status_code == 200
    # Without an overlap the old one ends at once.
    third = world.made("POST", f"/workspaces/{server.id}/enrollment_key", settled.admin, json={})["enrollment_key"]
    assert server.report().status_code == 401
    assert server.sign_in(second) == 401
    assert server.sign_in(third) == 200


def test_a_wrong_key_is_refused_and_recorded(settled: Settled) -> None:
    server = enroll(settled)
    for wrong in ("x", server.key[:-1], "é" * 10, "x" * 4000):
        assert server.sign_in(wrong) == 401
    assert settled.world.events("server.login")[-1].outcome == "denied"
    hosted = Server(settled, {"id": settled.tenant["id"], "enrollment_key": server.key})
    assert hosted.sign_in() == 401


def test_deactivation_refuses_the_server_at_once(settled: Settled) -> None:
    world, server = settled.world, enroll(settled)
    assert server.report().status_code == 200
    ask = f"/users/authorize_server?server_id={server.id}"
    assert world.call("GET", ask, settled.admin).status_code == 200
    stopped = world.made("PATCH", f"/tenants/{server.id}/deactivate", settled.admin)
    assert (stopped["status"], stopped["operation"]["status"]) == ("deactivated", "succeeded")
    assert server.report().status_code == 401
    assert server.sign_in() == 401
    assert world.call("GET", ask, settled.admin).status_code == 403
    assert world.call("PATCH", f"/tenants/{server.id}/deactivate", settled.admin).status_code == 409
    back = world.made("PATCH", f"/tenants/{server.id}/deploy", settled.admin)
    assert (back["status"], back["url"]) == ("available", URL)
    # What it had signed in with before is good again: the key is the same.
    assert server.report().status_code == 200


def test_what_only_hosted_tenants_have_is_refused(settled: Settled) -> None:
    world, server = settled.world, enroll(settled)
    body = {"name": "second", "organization": "acme"}
    for field, value in (("version", "0.98.0"), ("hibernate", True), ("idle_seconds", 60)):
        answer = world.call("POST", "/tenants?enroll=true", settled.admin, json=body | {field: value})
        assert (answer.status_code, list(answer.json()["fields"])) == (422, [field])
        assert world.call("PATCH", f"/tenants/{server.id}", settled.admin, json={field: value}).status_code == 409
    assert world.call("GET", f"/tenants/{server.id}/logs", settled.admin).status_code == 409
    assert world.call("POST", f"/auth/tenant_authorization/{server.id}", settled.admin).status_code == 409
    hosted = f"/tenants/{settled.tenant['id']}/enrollment_key"
    assert world.call("POST", hosted, settled.admin, json={}).status_code == 409
    world.made("PATCH", f"/tenants/{server.id}", settled.admin, json={"description": "ours"})
    for key in ({"overlap_seconds": -1}, {"overlap_seconds": 8 * 86_400}, {"overlap": 1}):
        assert world.call("POST", f"/tenants/{server.id}/enrollment_key", settled.admin, json=key).status_code == 422


def test_who_may_enroll(settled: Settled, tmp_path: Any) -> None:
    world, body = settled.world, {"name": "mine", "organization": "acme"}
    grace = world.user("grace")
    world.made("POST", "/organizations/acme/members", settled.admin, json={"user": "grace"})
    assert world.call("POST", "/tenants?enroll=true", grace, json=body).status_code == 403
    assert world.call("POST", "/tenants?enroll=true", settled.stranger, json=body).status_code == 404
    # PostgreSQL copies only a database to which nobody is connected; the pool fills itself again.
    world.state.database.close()
    strict = World(tmp_path / "strict", settled.world.state.settings.data_dir, enrollment="superusers")
    try:
        refused = strict.call("POST", "/tenants?enroll=true", settled.admin, json=body)
        assert (refused.status_code, "NAGAYA_ENROLLMENT" in refused.text) == (403, True)
        assert strict.call("POST", "/tenants?enroll=true", settled.root, json=body).status_code == 201
    finally:
        strict.close()


def test_a_server_learns_who_may_enter(settled: Settled) -> None:
    world, server = settled.world, enroll(settled)
    ask = f"/users/authorize_server?server_id={server.id}"
    found = world.made("GET", ask, settled.admin)
    expected = {"id", "username", "email", "name", "is_admin", "is_superuser", "is_service_account"}
    assert set(found) == expected | {"avatar_url", "oidc_claims"}
    grace = world.user("grace")
    world.made("POST", "/organizations/acme/members", settled.admin, json={"user": "grace"})
    # Not a member of the tenant, a stranger to the organization, and no tenant at all are told the same.
    said = [world.call("GET", ask, each) for each in (grace, settled.stranger)]
    said.append(world.call("GET", "/users/authorize_server?server_id=4f1f0f26-58d0-4b7d-9ab8-9d8b46d1ee3b", grace))
    assert {(each.status_code, each.json()["detail"]) for each in said} == {(403, said[0].json()["detail"])}
    member = {"user": "grace", "roles": ["tenant_viewer"]}
    world.made("POST", f"/tenants/{server.id}/members", settled.admin, json=member)
    assert world.made("GET", ask, grace)["username"] == "grace"
    key = world.made("POST", "/users/me/api_keys", grace, json={"name": "ci"})["key"]
    assert world.call("GET", ask, headers={"Authorization": f"Bearer {key}"}).status_code == 401
    world.made("DELETE", f"/organizations/acme/members/{grace.id}", settled.admin)
    assert world.call("GET", ask, grace).status_code == 403


def test_the_gateway_and_the_pages_know_that_it_runs_elsewhere(settled: Settled) -> None:
    world, server = settled.world, enroll(settled)
    internal = TestClient(create_internal_app(world.state), base_url=PUBLIC_URL)
    asked = internal.get("/internal/v1/redirect", params={"organization": "acme", "tenant": "elsewhere"})
    assert asked.status_code == 404
    browser = world.again(settled.admin, "browser")
    exchange = {"cookie": browser.token, "tenant": server.id}
    assert internal.post("/internal/v1/tenant_token", json=exchange).status_code == 404
    cookie = {"Cookie": f"nagaya={browser.token}", "Accept": "text/html"}
    page = world.client.get("/o/acme/t/elsewhere", headers=cookie)
    assert "Waiting for the server" in page.text
    assert "zenml login" not in page.text
    assert server.report().status_code == 200
    page = world.client.get("/o/acme/t/elsewhere", headers=cookie)
    assert f"zenml login {URL}" in page.text
    assert "runs elsewhere" in page.text
    assert f"{PUBLIC_URL}/t/acme/elsewhere" not in page.text
