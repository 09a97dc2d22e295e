"""Roles, permissions, and who may do what, with reasons."""

import uuid

import pytest

from nagaya_policy import ORGANIZATION_PERMISSIONS, PREDEFINED_ROLES
from tests.api.tenants.installation import Actor, Installation


@pytest.fixture(scope="module")
def root(api: Installation) -> Actor:
    root = api.user("root", superuser=True)
    assert root.http.post("/organizations", json={"name": "acme", "tenants": [{"name": "one"}]}).status_code == 201
    return root


def test_permissions_and_roles_are_listed(root: Actor) -> None:
    listed = root.http.get("/permissions", params={"level": "organization"}).json()
    assert {each["permission"] for each in listed} == set(ORGANIZATION_PERMISSIONS)
    assert {each["level"] for each in root.http.get("/permissions").json()} == {"organization", "tenant", "project"}
    roles = root.http.get("/organizations/acme/roles").json()
    assert {each["name"] for each in roles} == set(PREDEFINED_ROLES)
    assert {each["level"] for each in root.http.get("/organizations/acme/roles?level=project").json()} == {"project"}
    assert len(root.http.get("/organizations/acme/roles?name=tenant_admin").json()) == 1
    assert root.http.get("/roles/tenant_visitor").json()["assignable"] is False
    assert root.http.get("/roles/emperor").status_code == 404


def test_effective_permissions_have_reasons(api: Installation, root: Actor) -> None:
    who = api.user("ada")
    api.give(who, "organization_member", "acme")
    tenant = root.http.get("/tenants/acme/one").json()["id"]
    project, other = str(uuid.uuid4()), str(uuid.uuid4())
    api.give(who, "tenant_contributor", "acme", tenant=tenant)
    api.give(who, "project_viewer", "acme", tenant=tenant, project=project)
    api.give(who, "project_viewer", "acme", tenant=tenant, project=other)
    mine = who.http.get("/access/effective", params={"organization": "acme"}).json()["permissions"]
    assert [each["permission"] for each in mine] == ["organization:read"]
    assert mine[0]["reason"] == "role Organization Member"
    inside = who.http.get("/access/effective", params={"tenant": "one", "project": project}).json()["permissions"]
    assert {"tenant", f"project {project}"} == {each["scope"] for each in inside}
    everything = root.http.get("/access/effective", params={"organization": "acme"}).json()["permissions"]
    assert {each["reason"] for each in everything} == {"superuser"}
    about = root.http.get("/access/effective", params={"tenant": "acme/one", "principal": str(who.id)})
    assert {f"project {project}", f"project {other}"} < {each["scope"] for each in about.json()["permissions"]}
    refused = who.http.get("/access/effective", params={"organization": "acme", "principal": str(root.id)})
    assert refused.status_code == 403
    unknown = root.http.get("/access/effective", params={"organization": "acme", "principal": str(uuid.uuid4())})
    assert unknown.status_code == 404


def test_explanations(api: Installation, root: Actor) -> None:
    who = api.user("bob")
    api.give(who, "organization_admin", "acme")
    allowed = who.http.get(
        "/access/explain", params={"organization": "acme", "resource": "tenant", "action": "create"}
    ).json()
    assert (allowed["allowed"], allowed["reason"]) == (True, "allowed: role Organization Admin")
    inside = {"tenant": "one", "organization": "acme", "resource": f"stack/{uuid.uuid4()}", "action": "delete"}
    answer = who.http.get("/access/explain", params=inside).json()
    assert answer["allowed"] is True
    assert "via organization role organization_admin" in answer["reason"]
    assert sum(each["deciding"] for each in answer["rules"]) == 1
    stranger = api.user("eve")
    denied = who.http.get("/access/explain", params=inside | {"principal": str(stranger.id)}).json()
    assert (denied["allowed"], denied["reason"]) == (False, "denied: not a member")
    owned = who.http.get("/access/explain", params=inside | {"owner": str(who.id)}).json()
    assert owned["reason"] == "allowed: owner"
    odd = who.http.get("/access/explain", params=inside | {"resource": "not a resource"}).json()
    assert odd["allowed"] is False
