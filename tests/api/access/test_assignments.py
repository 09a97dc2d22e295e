"""Single roles given and taken by `/roles/{role}/assignments`, and the roles themselves."""

import datetime as dt
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from nagaya.access.roles import role_id
from tests.api.teams.test_teams import give, join, member, policy, status, team
from tests.api.world import Settled


def assignments(settled: Settled, role: str, query: str, **arguments: Any) -> Any:
    method = arguments.pop("method", "POST")
    return settled.world.call(method, f"/roles/{role}/assignments?{query}", settled.admin, **arguments)


def test_roles_go_by_name_id_and_older_name(settled: Settled) -> None:
    world = settled.world
    by_id = world.made("GET", f"/roles/{role_id('tenant_developer')}", settled.admin)
    assert by_id == world.made("GET", "/roles/tenant_developer", settled.admin)
    assert by_id == world.made("GET", "/roles/Editor", settled.admin)
    for level, names in (
        ("workspace", {"Admin": "tenant_admin", "editor": "tenant_developer", "VIEWER": "tenant_viewer"}),
        ("organization", {"Admin": "organization_admin", "Editor": "organization_manager"}),
        ("project", {"Viewer": "project_viewer"}),
    ):
        for alias, name in names.items():
            found = world.made("GET", f"/organizations/acme/roles?level={level}&name={alias}", settled.admin)
            assert [each["name"] for each in found] == [name]
    assert world.made("GET", "/organizations/acme/roles?limit=2&offset=1", settled.admin)[0]["name"] != (
        "organization_admin"
    )
    assert status(settled, "GET", f"/roles/{uuid.uuid4()}", settled.admin) == 404
    assert status(settled, "GET", "/organizations/acme/roles?level=planet", settled.admin) == 422


def test_a_role_is_given_changed_listed_and_taken(settled: Settled) -> None:
    world, grace = settled.world, member(settled, "grace")
    here = f"tenant_id={settled.tenant['id']}&user_id={grace.id}"
    made = assignments(settled, "Editor", here)
    assert made.status_code == 201
    assert (made.json()["role"], made.json()["principal_name"]) == ("tenant_developer", "grace")
    before = world.audited()
    again = assignments(settled, str(role_id("tenant_developer")), here.replace("tenant_id", "workspace_id"))
    assert (again.json()["id"], world.audited()) == (made.json()["id"], before)
    ends = (world.clock() + dt.timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    limited = assignments(settled, "tenant_developer", f"{here}&expires={ends}")
    assert (limited.json()["id"], limited.json()["expires"]) == (made.json()["id"], ends)
    assert assignments(settled, "tenant_developer", f"{here}&expires=2001-01-01T00:00:00Z").status_code == 422
    listed = assignments(settled, "tenant_developer", f"tenant_id={settled.tenant['id']}", method="GET")
    assert [each["principal_id"] for each in listed.json()] == [str(grace.id)]
    for query, count in (("organization=acme", 1), (f"organization=acme&user_id={settled.admin.id}", 0)):
        assert len(assignments(settled, "tenant_developer", query, method="GET").json()) == count
    world.clock.forward(3601)
    assert assignments(settled, "tenant_developer", "organization=acme", method="GET").json() == []
    assert str(grace.id) not in policy(settled).principals
    assert assignments(settled, "tenant_developer", here).status_code == 201
    assert assignments(settled, "tenant_developer", here, method="DELETE").status_code == 204
    assert assignments(settled, "tenant_developer", here, method="DELETE").status_code == 404


def test_roles_of_projects(settled: Settled) -> None:
    grace, project = member(settled, "grace"), uuid.uuid4()
    here = f"tenant_id={settled.tenant['id']}&user_id={grace.id}"
    made = assignments(settled, "Viewer", f"{here}&project_id={project}")
    assert (made.json()["role"], made.json()["project_id"]) == ("project_viewer", str(project))
    assert assignments(settled, "project_viewer", here).status_code == 422
    assert assignments(settled, "tenant_viewer", f"{here}&project_id={project}").status_code == 422
    assert assignments(settled, "organization_admin", here).status_code == 422
    assert assignments(settled, "tenant_visitor", here).status_code == 422
    only = f"tenant_id={settled.tenant['id']}&project_id={project}"
    assert len(assignments(settled, "project_viewer", only, method="GET").json()) == 1
    gone = assignments(settled, "Viewer", f"{here}&project_id={project}", method="DELETE")
    assert gone.status_code == 204


def test_an_organization_role_makes_a_member_and_the_last_one_stays(settled: Settled) -> None:
    world, grace = settled.world, settled.world.user("grace")
    here = f"organization=acme&user_id={grace.id}"
    outsider = assignments(settled, "tenant_viewer", f"tenant_id={settled.tenant['id']}&user_id={grace.id}")
    assert outsider.status_code == 422
    assert assignments(settled, "organization_member", here).status_code == 201
    assert status(settled, "GET", "/organizations/acme", grace) == 200
    refused = assignments(settled, "organization_member", here, method="DELETE")
    assert refused.status_code == 409
    assert "remove the member" in refused.json()["detail"]
    assert assignments(settled, "Viewer", here).json()["role"] == "organization_viewer"
    assert assignments(settled, "organization_member", here, method="DELETE").status_code == 204
    world.made("PATCH", f"/users/{grace.id}", settled.root, json={"is_active": False})
    assert assignments(settled, "organization_member", here).status_code == 409
    for query in ("organization=acme", f"{here}&team_id={uuid.uuid4()}"):
        assert assignments(settled, "organization_member", query).status_code == 422
    for query in (f"organization=acme&team_id={uuid.uuid4()}", f"organization=acme&invitation_id={uuid.uuid4()}"):
        assert assignments(settled, "organization_member", query).status_code == 404
    assert assignments(settled, "emperor", here).status_code == 404


def test_who_may_give_and_see(settled: Settled) -> None:
    manager = member(settled, "manager", "organization_manager")
    grace, vision = member(settled, "grace"), team(settled)
    place = f"/roles/organization_admin/assignments?organization=acme&user_id={grace.id}"
    assert status(settled, "POST", place, manager) == 403
    assert status(settled, "POST", place, grace) == 403
    assert status(settled, "POST", place, settled.stranger) == 404
    assert status(settled, "POST", place, None) == 401
    lesser = place.replace("organization_admin", "billing_admin")
    assert status(settled, "POST", lesser, manager) == 403
    assert status(settled, "GET", "/roles/organization_admin/assignments?organization=acme", grace) == 403
    here = f"/roles/tenant_viewer/assignments?tenant_id={settled.tenant['id']}"
    assert status(settled, "POST", f"{here}&user_id={grace.id}", manager) == 403
    assert status(settled, "GET", here, manager) == 200
    assert status(settled, "GET", here, grace) == 404
    # A team is known by its id alone; so is its organization.
    assert status(settled, "POST", f"/roles/team_viewer/assignments?team_id={vision['id']}", settled.admin) == 201
    assert status(settled, "POST", f"/roles/team_viewer/assignments?team_id={vision['id']}", settled.stranger) == 404


def test_a_team_can_hold_the_last_administrator(settled: Settled) -> None:
    world, grace = settled.world, member(settled, "grace")
    world.made("DELETE", f"/organizations/acme/members/{settled.root.id}", settled.root)
    boss = team(settled, "boss")
    join(settled, boss, grace)
    give(settled, boss, "organization_admin", organization="acme")
    me = f"/organizations/acme/members/{settled.admin.id}"
    world.made("PATCH", me, settled.admin, json={"roles": ["organization_member"]})
    seat = f"/teams/{boss['id']}/members?user_id={grace.id}"
    role = f"/roles/organization_admin/assignments?team_id={boss['id']}"
    ends = (world.clock() + dt.timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    member_of = f"/organizations/acme/members/{grace.id}"
    lasting = {"roles": ["organization_member"], "expires": ends}
    refused = [
        ("DELETE", seat, None),
        ("DELETE", role, None),
        ("POST", f"{role}&expires={ends}", None),
        ("DELETE", f"/teams/{boss['id']}", None),
        ("DELETE", member_of, None),
        ("PATCH", member_of, lasting),
    ]
    for method, path, body in refused:
        answer = world.call(method, path, grace, json=body)
        assert answer.status_code == 409, (method, path, answer.text)
        assert "Nobody would be left who administers acme" in answer.json()["detail"]
    world.made("POST", f"/roles/organization_admin/assignments?organization=acme&user_id={settled.admin.id}", grace)
    assert status(settled, "DELETE", f"/teams/{boss['id']}", grace) == 204


@pytest.mark.parametrize("way", ["directly", "through teams"])
def test_two_administrators_cannot_remove_each_other(settled: Settled, way: str) -> None:
    world = settled.world
    world.made("DELETE", f"/organizations/acme/members/{settled.root.id}", settled.root)
    grace = member(settled, "grace", "organization_admin")
    people = (settled.admin, grace)
    paths = [f"/organizations/acme/members/{other.id}" for other in reversed(people)]
    if way == "through teams":
        made = [team(settled, name) for name in ("one", "two")]
        for where, person in zip(made, people, strict=True):
            join(settled, where, person)
            give(settled, where, "organization_admin", organization="acme")
        for person in people:
            change = {"roles": ["organization_member"]}
            world.made("PATCH", f"/organizations/acme/members/{person.id}", settled.admin, json=change)
        paths = [f"/teams/{where['id']}" for where in reversed(made)]
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(status, settled, "DELETE", path, by) for path, by in zip(paths, people, strict=True)]
        statuses = sorted(call.result() for call in calls)
    # The second is no administrator any more when its turn comes, or not even a member.
    assert statuses[0] == 204
    assert statuses[1] in {403, 404, 409}
    left = [each for each in people if status(settled, "GET", "/organizations/acme/audit_events", each) == 200]
    assert len(left) == 1
