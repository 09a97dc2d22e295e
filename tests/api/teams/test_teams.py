"""Teams: who makes and fills them, what their members get through them, and what ends with them."""

import uuid
from typing import Any

import pytest

from nagaya.access.compiler import Issuer, compile_policies
from nagaya.tenants.models import Tenant
from nagaya_policy import Policy
from tests.api.world import Person, Settled


def member(settled: Settled, name: str, role: str = "organization_member") -> Person:
    person = settled.world.user(name)
    body = {"user": name, "roles": [role]}
    settled.world.made("POST", "/organizations/acme/members", settled.admin, json=body)
    return person


def team(settled: Settled, name: str = "vision", **more: Any) -> dict[str, Any]:
    body = {"name": name, "organization": "acme", **more}
    made: dict[str, Any] = settled.world.made("POST", "/teams", settled.admin, json=body)
    return made


def join(settled: Settled, where: dict[str, Any], person: Person) -> None:
    settled.world.made("POST", f"/teams/{where['id']}/members?user_id={person.id}", settled.admin)


def give(settled: Settled, where: dict[str, Any], role: str, **place: str) -> None:
    query = "&".join(f"{key}={value}" for key, value in place.items())
    settled.world.made("POST", f"/roles/{role}/assignments?team_id={where['id']}&{query}", settled.admin)


def policy(settled: Settled) -> Policy:
    tenant_id, state = uuid.UUID(settled.tenant["id"]), settled.world.state
    with state.database.read() as session:
        issuer = Issuer("http://nagaya.test", lambda: {"keys": []})
        return Policy.from_document(compile_policies(session, [tenant_id], issuer, state.now())[tenant_id])


def version(settled: Settled) -> int:
    with settled.world.state.database.read() as session:
        tenant = session.get(Tenant, uuid.UUID(settled.tenant["id"]))
        assert tenant is not None
        return tenant.policy_version


def status(settled: Settled, method: str, path: str, by: Person | None, **arguments: Any) -> int:
    return int(settled.world.call(method, path, by, **arguments).status_code)


def test_a_team_is_made_changed_listed_and_deleted(settled: Settled) -> None:
    world, admin = settled.world, settled.admin
    grace = member(settled, "grace")
    made = team(settled, "Vision", description="sees", members=["grace", "ADA@example.com"])
    assert (made["name"], made["description"], made["member_count"], made["roles"]) == ("Vision", "sees", 2, [])
    assert status(settled, "POST", "/teams", admin, json={"name": "VISION", "organization": "acme"}) == 409
    team(settled, "audio")
    listed = world.call("GET", "/organizations/acme/teams", admin)
    assert [each["name"] for each in listed.json()] == ["audio", "Vision"]
    assert listed.headers["X-Total-Count"] == "2"
    for query, names in (("q=SEE", ["Vision"]), ("name=vision", ["Vision"]), ("q=%25", []), ("limit=1", ["audio"])):
        found = world.made("GET", f"/organizations/acme/teams?{query}", admin)
        assert [each["name"] for each in found] == names, query
    place = f"/teams/{made['id']}"
    changed = world.made("PATCH", place, admin, json={"name": "sight"})
    assert (changed["name"], changed["description"]) == ("sight", "sees")
    assert status(settled, "PATCH", place, admin, json={"name": "Audio"}) == 409
    assert world.made("PATCH", place, admin, json={"name": "SIGHT"})["name"] == "SIGHT"
    people = world.made("GET", f"{place}/members", admin)
    assert [(each["username"], each["kind"]) for each in people] == [("ada", "user"), ("grace", "user")]
    assert [each["username"] for each in world.made("GET", f"{place}/members?q=RAC", admin)] == ["grace"]
    assert world.made("GET", place, grace)["name"] == "SIGHT"
    assert status(settled, "DELETE", place, admin) == 204
    assert status(settled, "GET", place, admin) == 404


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": " "},
        {"name": "a\nb"},
        {"name": "a\x00b"},
        {"name": "x" * 65},
        {"name": "fine", "members": ["grace", "grace"]},
        {"name": "fine", "members": ["mallory"]},
        {"name": "fine", "surprise": 1},
    ],
)
def test_bad_teams_get_a_sentence_and_are_not_made(settled: Settled, body: dict[str, Any]) -> None:
    member(settled, "grace")
    answer = settled.world.call("POST", "/teams", settled.admin, json=body | {"organization": "acme"})
    assert answer.status_code == 422, answer.text
    assert settled.world.made("GET", "/organizations/acme/teams", settled.admin) == []


def test_members_have_the_roles_of_their_teams_and_the_tenant_says_why(settled: Settled) -> None:
    world, grace = settled.world, member(settled, "grace")
    vision = team(settled)
    join(settled, vision, grace)
    place = f"/tenants/{settled.tenant['id']}"
    assert status(settled, "GET", place, grace) == 404
    before = version(settled)
    give(settled, vision, "tenant_developer", tenant_id=settled.tenant["id"])
    assert version(settled) > before
    assert status(settled, "GET", place, grace) == 200
    assert [each["name"] for each in world.made("GET", "/tenants?member_only=True", grace)] == ["staging"]
    row = next(each for each in world.made("GET", f"{place}/members", settled.admin) if each["username"] == "grace")
    assert (row["via_team"], row["roles"][0]["via"]) == (True, "team vision")
    assert row["roles"][0]["team"] == {"id": vision["id"], "name": "vision"}
    teams = world.made("GET", f"{place}/members?kind=team", settled.admin)
    assert [(each["username"], each["roles"][0]["role"]) for each in teams] == [("vision", "tenant_developer")]
    why = {"tenant": "acme/staging", "action": "create", "resource": "stack"}
    answer = world.made("GET", "/access/explain", grace, params=why)
    assert (answer["allowed"], answer["reason"]) == (True, "allowed: role Developer via team vision")
    assert policy(settled).check(str(grace.id), "create", "stack", now=0).allowed
    world.made("PATCH", f"/teams/{vision['id']}", settled.admin, json={"name": "sight"})
    assert "via team sight" in world.made("GET", "/access/explain", grace, params=why)["reason"]
    token = world.made("POST", f"/auth/tenant_authorization/{settled.tenant['id']}", grace)
    assert token["access_token"]


def test_organization_roles_of_teams_count_everywhere(settled: Settled) -> None:
    world, grace = settled.world, member(settled, "grace")
    boss = team(settled, "boss")
    join(settled, boss, grace)
    assert status(settled, "GET", "/organizations/acme/members", grace) == 403
    give(settled, boss, "organization_admin", organization="acme")
    assert status(settled, "GET", "/organizations/acme/members", grace) == 200
    assert world.made("POST", "/tenants", grace, json={"name": "fresh", "organization": "acme"})["name"] == "fresh"
    found = {each["permission"]: each["reason"] for each in effective(settled, grace, organization="acme")}
    assert found["member:delete"] == "role Organization Admin via team boss"
    assert policy(settled).administers(str(grace.id), 0).allowed
    row = next(each for each in world.made("GET", "/organizations/acme/members?q=grace", settled.admin))
    assert [(each["role"], each["via"]) for each in row["roles"]] == [
        ("organization_member", "direct"),
        ("organization_admin", "team boss"),
    ]
    assert row["via_team"] is False


def effective(settled: Settled, person: Person, **where: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = settled.world.made("GET", "/access/effective", person, params=where)["permissions"]
    return found


@pytest.mark.parametrize("end", ["leave", "removed", "team deleted", "role taken", "membership"])
def test_rights_end_with_what_they_came_from(settled: Settled, end: str) -> None:
    world, grace, vision = settled.world, member(settled, "grace"), team(settled)
    join(settled, vision, grace)
    give(settled, vision, "tenant_admin", tenant_id=settled.tenant["id"])
    assert str(grace.id) in policy(settled).principals
    before = version(settled)
    seat = f"/teams/{vision['id']}/members?user_id={grace.id}"
    role = f"/roles/tenant_admin/assignments?team_id={vision['id']}&tenant_id={settled.tenant['id']}"
    acts: dict[str, tuple[str, Person]] = {
        "leave": (seat, grace),
        "removed": (seat, settled.admin),
        "team deleted": (f"/teams/{vision['id']}", settled.admin),
        "role taken": (role, settled.admin),
        "membership": (f"/organizations/acme/members?user_id={grace.id}", settled.admin),
    }
    path, by = acts[end]
    world.made("DELETE", path, by)
    assert version(settled) > before
    assert str(grace.id) not in policy(settled).principals
    assert status(settled, "GET", f"/tenants/{settled.tenant['id']}", grace) == 404
    if end == "membership":
        world.made("POST", "/organizations/acme/members", settled.admin, json={"user": "grace"})
        assert str(grace.id) not in policy(settled).principals


def test_what_is_shared_with_a_team_ends_with_it(settled: Settled) -> None:
    world, grace, vision = settled.world, member(settled, "grace"), team(settled)
    join(settled, vision, grace)
    stack = f"stack/{uuid.uuid4()}"
    share(settled, stack, vision, ["read", "update"])
    share(settled, stack, None, ["read", "delete"], user=grace)
    compiled = policy(settled)
    for action in ("read", "update", "delete"):
        assert compiled.check(str(grace.id), action, stack, now=0).allowed
    assert status(settled, "GET", f"/tenants/{settled.tenant['id']}", grace) == 200
    world.made("DELETE", f"/teams/{vision['id']}", settled.admin)
    compiled = policy(settled)
    assert not compiled.check(str(grace.id), "update", stack, now=0).allowed
    assert compiled.check(str(grace.id), "delete", stack, now=0).allowed


def share(
    settled: Settled, resource: str, where: dict[str, Any] | None, actions: list[str], user: Person | None = None
) -> None:
    from nagaya.tenants.sharing import ShareRequest  # noqa: PLC0415
    from nagaya.tenants.sharing import share as do_share  # noqa: PLC0415

    state = settled.world.state
    body = ShareRequest(
        sharing_user_id=settled.admin.id,
        user_id=None if user is None else user.id,
        team_id=None if where is None else uuid.UUID(where["id"]),
        resource=resource,
        actions=actions,
    )
    issuer = Issuer("http://nagaya.test", lambda: {"keys": []})
    do_share(state.database, issuer, uuid.UUID(settled.tenant["id"]), body, state.now())


def test_nobody_fills_a_team_that_has_more_than_they_may_give(settled: Settled) -> None:
    world, manager = settled.world, member(settled, "manager", "organization_manager")
    grace, vision = member(settled, "grace"), team(settled)
    seat = f"/teams/{vision['id']}/members?user_id="
    assert status(settled, "POST", f"{seat}{grace.id}", manager) == 201
    give(settled, vision, "tenant_viewer", tenant_id=settled.tenant["id"])
    for person in (manager, grace):
        refused = world.call("POST", f"{seat}{person.id}", manager)
        assert refused.status_code == 403
        assert "more than you may give" in refused.json()["detail"]
    assert status(settled, "DELETE", f"{seat}{grace.id}", manager) == 403
    body = {"email": "new@example.com", "teams": ["vision"]}
    assert status(settled, "POST", "/organizations/acme/invitations", manager, json=body) == 403
    world.made(
        "DELETE",
        f"/roles/tenant_viewer/assignments?team_id={vision['id']}&tenant_id={settled.tenant['id']}",
        settled.admin,
    )
    share(settled, f"secret/{uuid.uuid4()}", vision, ["read"])
    assert status(settled, "POST", f"{seat}{manager.id}", manager) == 403
    given = {"user": "manager", "roles": ["tenant_admin"]}
    world.made("POST", f"/tenants/{settled.tenant['id']}/members", settled.admin, json=given)
    assert status(settled, "POST", f"{seat}{manager.id}", manager) == 201


def test_keys_of_service_accounts_count_their_teams(settled: Settled) -> None:
    world, manager, vision = settled.world, member(settled, "manager", "organization_manager"), team(settled)
    robot = world.made("POST", "/organizations/acme/service_accounts", settled.admin, json={"name": "robot"})
    seat = f"/teams/{vision['id']}/members?service_account_id={robot['id']}"
    assert world.made("POST", seat, settled.admin)["kind"] == "service_account"
    keys = f"/organizations/acme/service_accounts/{robot['id']}/api_keys"
    assert status(settled, "POST", keys, manager, json={"name": "one"}) == 201
    give(settled, vision, "tenant_viewer", tenant_id=settled.tenant["id"])
    assert status(settled, "POST", keys, manager, json={"name": "two"}) == 403
    key = world.made("POST", keys, settled.admin, json={"name": "three"})["key"]
    listed = world.client.get("/api/v1/tenants", headers={"Authorization": f"Bearer {key}"}).json()
    assert [each["name"] for each in listed] == ["staging"]


def test_teams_take_roles_like_members_of_a_tenant(settled: Settled) -> None:
    world, vision = settled.world, team(settled)
    grace = member(settled, "grace")
    join(settled, vision, grace)
    place = f"/tenants/{settled.tenant['id']}/members"
    made = world.made("POST", place, settled.admin, json={"team": "VISION", "roles": ["Viewer"]})
    assert (made["kind"], made["roles"][0]["role"]) == ("team", "tenant_viewer")
    assert status(settled, "POST", place, settled.admin, json={"team": "vision", "roles": ["Viewer"]}) == 409
    changed = world.made("PATCH", f"{place}/{vision['id']}", settled.admin, json={"roles": ["tenant_developer"]})
    assert [each["role"] for each in changed["roles"]] == ["tenant_developer"]
    through = world.call("DELETE", f"{place}/{grace.id}", settled.admin)
    assert through.status_code == 409
    assert "only through a team (vision)" in through.json()["detail"]
    world.made("DELETE", f"{place}?team_id={vision['id']}", settled.admin)
    assert world.made("GET", f"{place}?kind=team", settled.admin) == []
    for body in ({"roles": ["Viewer"]}, {"user": "ada", "team": "vision", "roles": ["Viewer"]}):
        assert status(settled, "POST", place, settled.admin, json=body) == 422
    assert status(settled, "POST", place, settled.admin, json={"team": "none", "roles": ["Viewer"]}) == 404


def test_strangers_and_plain_members(settled: Settled) -> None:
    vision, grace = team(settled), member(settled, "grace")
    place = f"/teams/{vision['id']}"
    seat = f"{place}/members?user_id={grace.id}"
    calls = [("GET", place), ("PATCH", place), ("DELETE", place), ("GET", f"{place}/members"), ("POST", seat)]
    for method, path in [*calls, ("DELETE", seat)]:
        body = {"json": {"description": "x"}} if method == "PATCH" else {}
        assert status(settled, method, path, settled.stranger, **body) == 404, (method, path)
        assert status(settled, method, path, None, **body) == 401, (method, path)
        own = (method, path) == ("DELETE", seat)
        assert status(settled, method, path, grace, **body) == (404 if own else 403), (method, path)
    assert status(settled, "POST", "/teams", grace, json={"name": "mine", "organization": "acme"}) == 403
    assert status(settled, "POST", "/teams", settled.stranger, json={"name": "mine", "organization": "acme"}) == 404
    assert status(settled, "POST", "/teams", grace, json={"name": "mine"}) == 403
    for query in ("", f"?user_id={grace.id}&service_account_id={grace.id}", "?user_id=x"):
        assert status(settled, "POST", f"{place}/members{query}", settled.admin) == 422
    assert status(settled, "POST", f"{place}/members?user_id={uuid.uuid4()}", settled.admin) == 404
    assert status(settled, "POST", f"{place}/members?user_id={settled.stranger.id}", settled.admin) == 422
    assert status(settled, "GET", f"/teams/{uuid.uuid4()}", settled.root) == 404
