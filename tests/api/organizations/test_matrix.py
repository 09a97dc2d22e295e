"""Every endpoint of an organization for each predefined role, for strangers, and by reflection over all routes."""

import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from nagaya_policy import PREDEFINED_ROLES
from tests.api.tenants.installation import Actor, Installation, installation, ready

ADMIN, MANAGER, VIEWER = "organization_admin", "organization_manager", "organization_viewer"
MEMBER, BILLING, TEAMS = "organization_member", "billing_admin", "team_viewer"
ALL = {ADMIN, MANAGER, VIEWER, MEMBER, BILLING, TEAMS}
CHANGERS = {ADMIN, MANAGER}
RoutePath = tuple[str, str]

ALLOWED: dict[RoutePath, set[str]] = {
    ("GET", "/organizations/{organization}"): ALL,
    ("PATCH", "/organizations/{organization}"): CHANGERS,
    ("DELETE", "/organizations/{organization}"): {ADMIN},
    ("GET", "/organizations/{organization}/validation/tenant_name/{name}"): ALL,
    ("GET", "/organizations/{organization}/tenants"): ALL,
    ("GET", "/organizations/{organization}/members"): {ADMIN, MANAGER, VIEWER, TEAMS},
    ("POST", "/organizations/{organization}/members"): CHANGERS,
    ("PATCH", "/organizations/{organization}/members/{principal_id}"): CHANGERS,
    ("DELETE", "/organizations/{organization}/members/{principal_id}"): {ADMIN},
    ("DELETE", "/organizations/{organization}/members"): {ADMIN},
    ("GET", "/organizations/{organization}/invitations"): {ADMIN, MANAGER, VIEWER},
    ("POST", "/organizations/{organization}/invitations"): CHANGERS,
    ("DELETE", "/organizations/{organization}/invitations/{invitation_id}"): CHANGERS,
    ("POST", "/organizations/{organization}/invitations/{invitation_id}/link"): CHANGERS,
    ("GET", "/organizations/{organization}/roles"): {ADMIN, MANAGER, VIEWER},
    ("GET", "/organizations/{organization}/teams"): {ADMIN, MANAGER, VIEWER, TEAMS},
    ("GET", "/{tenants}/{tenant}"): {ADMIN, MANAGER, VIEWER},
    ("PATCH", "/{tenants}/{tenant}"): CHANGERS,
    ("DELETE", "/{tenants}/{tenant}"): {ADMIN},
    ("GET", "/{tenants}/{tenant}/logs"): CHANGERS,
    ("PATCH", "/{tenants}/{tenant}/deploy"): CHANGERS,
    ("PATCH", "/{tenants}/{tenant}/deactivate"): CHANGERS,
    ("POST", "/{tenants}/{tenant}/restore"): {ADMIN},
    ("GET", "/{tenants}/{tenant}/members"): {ADMIN, MANAGER, VIEWER},
    ("POST", "/{tenants}/{tenant}/members"): CHANGERS,
    ("PATCH", "/{tenants}/{tenant}/members/{principal_id}"): CHANGERS,
    ("DELETE", "/{tenants}/{tenant}/members/{principal_id}"): CHANGERS,
    ("DELETE", "/{tenants}/{tenant}/members"): CHANGERS,
    ("GET", "/{tenants}/{organization}/{name}"): {ADMIN, MANAGER, VIEWER},
}
"""Who is let in. A tenant of which somebody may not even know answers 404, everything else that is refused 403."""
BLIND = {MEMBER, BILLING, TEAMS}
"""Roles that do not see tenants which they are not members of."""
IDENTITY = ("/service_accounts", "/audit")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(scope="module")
def world(api: Installation) -> dict[str, Any]:
    root = api.user("root", superuser=True)
    for name in ("acme", "other"):
        assert root.http.post("/organizations", json={"name": name}).status_code == 201
    tenant = root.http.post("/tenants", json={"name": "one", "organization": "acme"}).json()
    ready(root, tenant["id"])
    people = {}
    for role in ALL:
        people[role] = api.user(role.replace("_", "-"))
        api.give(people[role], role, "acme")
    stranger = api.user("stranger")
    api.give(stranger, ADMIN, "other")
    return {"root": root, "tenant": tenant, "people": people, "stranger": stranger}


def routes(api: Installation) -> set[RoutePath]:
    """Every route of the application that names an organization, a tenant or an operation in its path."""
    found = set()
    for path, methods in api.app.openapi()["paths"].items():
        short = path.removeprefix("/api/v1")
        if re.search(r"\{(organization|tenant|operation_id)\}", short) and not any(each in short for each in IDENTITY):
            found |= {(method.upper(), short) for method in methods}
    return found


def general(path: str) -> str:
    return re.sub(r"^/(tenants|workspaces)/", "/{tenants}/", path)


def filled(path: str, world: dict[str, Any]) -> str:
    values = {
        "organization": "acme",
        "tenants": "tenants",
        "tenant": world["tenant"]["id"],
        "principal_id": str(uuid.uuid4()),
        "invitation_id": str(uuid.uuid4()),
        "operation_id": world["tenant"]["operation"]["id"],
        "name": "one",
    }
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], path)


def test_every_route_is_in_the_table(api: Installation) -> None:
    named = {(method, general(path)) for method, path in routes(api) if not path.startswith("/operations")}
    assert named - {("POST", "/auth/tenant_authorization/{tenant}")} == set(ALLOWED)
    assert {role.name for role in PREDEFINED_ROLES.values() if role.level == "organization"} == ALL


@pytest.mark.parametrize("role", sorted(ALL))
@pytest.mark.parametrize("route", sorted(ALLOWED))
def test_each_role_on_each_route(world: dict[str, Any], route: RoutePath, role: str) -> None:
    method, path = route
    # An unknown field makes every body invalid: whoever is let in learns of that, and nothing is changed.
    body = {"nonsense": 1} if method in {"POST", "PATCH"} else None
    if path.endswith(("deploy", "deactivate")) and role in ALLOWED[route]:
        pytest.skip("would change the tenant; the lifecycle's tests do that")
    # Nobody is meant by this id.
    named = {"user_id": str(uuid.uuid4())} if method == "DELETE" and path.endswith("/members") else None
    answer = world["people"][role].http.request(method, filled(path, world), json=body, params=named)
    if role in ALLOWED[route]:
        assert answer.status_code in {200, 404, 409, 422}, answer.text
        assert answer.status_code != 404 or named or "principal_id" in path or "invitation_id" in path
    elif role in BLIND and "{tenants}" in path:
        assert answer.status_code == 404
    else:
        assert answer.status_code == 403, answer.text
        assert "denied: " in answer.json()["detail"]


def test_another_organizations_objects_do_not_exist(api: Installation, world: dict[str, Any]) -> None:
    for method, path in sorted(routes(api)):
        answer = world["stranger"].http.request(method, filled(path, world), json={})
        assert answer.status_code == 404, (method, path, answer.text)
        anonymous = api.client().request(method, filled(path, world), json={})
        assert anonymous.status_code == 401, (method, path)


def test_lists_show_only_what_one_may_know_of(world: dict[str, Any]) -> None:
    stranger: Actor = world["stranger"]
    for path in ("/tenants", "/workspaces", "/operations"):
        assert stranger.http.get(path).json() == []
    assert [each["name"] for each in stranger.http.get("/organizations").json()] == ["other"]
    assert stranger.http.get("/operations", params={"tenant": "acme/one"}).status_code == 404
    assert stranger.http.get("/tenants", params={"organization_id": "acme"}).status_code == 404
    assert stranger.http.get("/access/effective", params={"tenant": "acme/one"}).status_code == 404
    body = {"name": "x1", "organization": "acme"}
    assert stranger.http.post("/tenants", json=body).status_code == 404
    for role in ALL - {ADMIN, MANAGER}:
        assert world["people"][role].http.post("/tenants", json=body).status_code == 403
    assert stranger.http.post("/organizations", json={"name": "mine"}).status_code == 403


BAD: list[tuple[str, str, Any]] = [
    ("POST", "/organizations", {}),
    ("POST", "/organizations", []),
    ("POST", "/organizations", {"name": "Acme"}),
    ("POST", "/organizations", {"name": "a--b"}),
    ("POST", "/organizations", {"name": "a" * 31}),
    ("POST", "/organizations", {"name": 7}),
    ("POST", "/organizations", {"name": "fine", "surprise": 1}),
    ("POST", "/organizations", {"name": "fine", "description": "\x00"}),
    ("POST", "/organizations", {"name": "fine", "tenants": [{"name": "UP"}]}),
    ("POST", "/organizations", {"name": "fine", "tenants": [{}]}),
    ("POST", "/tenants", {"name": "fine", "organization": "acme", "labels": {"": "x"}}),
    ("POST", "/tenants", {"name": "fine", "organization": "acme", "labels": {f"k{n}": "x" for n in range(33)}}),
    ("POST", "/tenants", {"name": "fine", "organization": "acme", "idle_seconds": 0}),
    ("POST", "/tenants", {"name": "fine", "organization": "acme", "idle_seconds": "soon"}),
    ("POST", "/tenants", {"name": "fine", "organization": "acme", "stage": "Not A Stage"}),
    ("POST", "/tenants", {"display_name": "長屋", "organization": "acme"}),
    ("POST", "/tenants", {"organization": "acme"}),
    ("POST", "/tenants", {"name": "fine"}),
    ("PATCH", "/tenants/one", {"name": "renamed"}),
    ("PATCH", "/tenants/one", {"description": "x" * 70_000}),
    ("POST", "/organizations/acme/members", {"user": "stranger", "roles": ["emperor"]}),
    ("POST", "/organizations/acme/members", {"user": "stranger", "roles": ["tenant_admin"]}),
    ("POST", "/organizations/acme/members", {"user": "stranger", "roles": []}),
    ("POST", "/organizations/acme/members", {"user": "stranger", "roles": [MEMBER, MEMBER]}),
    ("POST", "/organizations/acme/members", {"user": "stranger", "expires": "2001-01-01T00:00:00Z"}),
    ("POST", "/tenants/one/members", {"user": "stranger", "roles": ["tenant_viewer"]}),
    ("POST", "/tenants/one/members", {"user": "organization-member", "roles": ["organization_admin"]}),
    ("POST", "/tenants/one/members", {"user": "organization-member", "roles": ["tenant_visitor"]}),
    ("POST", "/tenants/one/members", {"user": "organization-member", "roles": ["project_admin"]}),
    ("PATCH", "/tenants/one/members/not-a-uuid", {"roles": ["tenant_viewer"]}),
    ("GET", "/tenants?limit=100000", None),
    ("GET", "/tenants?offset=-1", None),
    ("GET", "/tenants?page=99999999999999999999", None),
    ("GET", "/tenants?label=nokey", None),
    ("GET", "/tenants?member_only=perhaps", None),
    ("GET", "/operations?status=odd", None),
    ("GET", "/operations/not-a-uuid", None),
    ("GET", "/access/effective", None),
    ("GET", "/tenants/one/logs?lines=0", None),
]


@pytest.mark.parametrize(("method", "path", "body"), BAD, ids=range(len(BAD)))
def test_bad_input_gets_a_sentence(world: dict[str, Any], method: str, path: str, body: Any) -> None:
    answer = world["root"].http.request(method, path, json=body)
    assert answer.status_code == 422, answer.text
    found = answer.json()
    assert found["error"] == "InvalidInput"
    assert len(found["detail"]) > 10
    assert "\x00" not in answer.text


@pytest.mark.parametrize("path", ["/tenants/%00", "/organizations/%00", "/tenants/acme%2F%00", "/roles/%00"])
def test_a_nul_is_nobody(world: dict[str, Any], path: str) -> None:
    assert world["root"].http.get(path).status_code in {404, 422}
