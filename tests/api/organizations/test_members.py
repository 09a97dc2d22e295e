"""Organizations and their members: who may give what, the last administrator, and what ends with a membership."""

import datetime as dt
import uuid
from collections.abc import Iterator

import pytest

from nagaya.access.compiler import Issuer, compile_policies
from nagaya.access.models import Share
from nagaya.db.base import utc_now
from nagaya_policy import Policy
from tests.api.tenants.installation import Actor, Installation, installation, ready


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(scope="module")
def root(api: Installation) -> Actor:
    return api.user("root", superuser=True)


@pytest.fixture
def org(root: Actor) -> str:
    name = f"o{uuid.uuid4().hex[:10]}"
    body = {"name": name, "tenants": [{"name": "one"}, {"display_name": "Number Two"}]}
    answer = root.http.post("/organizations", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.json()["roles"] == ["organization_admin"]
    return name


def person(api: Installation, org: str, role: str) -> Actor:
    who = api.user(f"u{uuid.uuid4().hex[:10]}")
    api.give(who, role, org)
    return who


def test_an_organization_comes_with_its_tenants_or_not_at_all(root: Actor, org: str) -> None:
    listed = root.http.get(f"/organizations/{org}/tenants")
    assert [each["name"] for each in listed.json()] == ["number-two", "one"]
    assert listed.headers["X-Total-Count"] == "2"
    name = f"o{uuid.uuid4().hex[:10]}"
    bad = {"name": name, "tenants": [{"name": "same"}, {"name": "same"}]}
    assert root.http.post("/organizations", json=bad).status_code == 409
    assert root.http.get(f"/organizations/{name}").status_code == 404
    taken = root.http.post("/organizations", json={"name": org})
    assert taken.status_code == 409


def test_names_are_validated(root: Actor, org: str) -> None:
    check = root.http.get(f"/organizations/validation/name/{org}").json()
    assert (check["valid"], bool(check["reason"])) == (False, True)
    assert root.http.get("/organizations/validation/name/free-name").json() == {"valid": True, "reason": ""}
    assert root.http.get("/organizations/validation/name/Not Free").json()["valid"] is False
    path = f"/organizations/{org}/validation/tenant_name"
    assert root.http.get(f"{path}/one").json()["valid"] is False
    assert root.http.get(f"{path}/members").json()["valid"] is False
    assert root.http.get(f"{path}/three").json()["valid"] is True
    assert root.http.get(f"{path}/-x").json()["valid"] is False


def test_an_organization_is_deleted_after_its_tenants(api: Installation, root: Actor, org: str) -> None:
    refused = root.http.delete(f"/organizations/{org}")
    assert refused.status_code == 409
    assert "2 tenants" in refused.json()["detail"]
    for tenant in root.http.get(f"/organizations/{org}/tenants").json():
        ready(root, tenant["id"])
        protected = root.http.delete(f"/tenants/{tenant['id']}")
        assert protected.status_code == 409
        assert "protected" in protected.json()["detail"]
        assert root.http.patch(f"/tenants/{tenant['id']}", json={"protected": False}).status_code == 200
        assert root.http.delete(f"/workspaces/{tenant['id']}").status_code == 200
    assert root.http.delete(f"/organizations/{org}").status_code == 204
    assert root.http.get(f"/organizations/{org}").status_code == 404
    assert root.http.post("/organizations", json={"name": org}).status_code == 409


def test_a_manager_gives_no_more_than_the_own_roles(api: Installation, root: Actor, org: str) -> None:
    manager, other = person(api, org, "organization_manager"), api.user(f"x{uuid.uuid4().hex[:8]}")
    path = f"/organizations/{org}/members"
    refused = manager.http.post(path, json={"user": other.username, "roles": ["organization_admin"]})
    assert refused.status_code == 403
    assert "permits more than your own roles" in refused.json()["detail"]
    made = manager.http.post(path, json={"user": f"{other.username.upper()}@example.com"})
    assert made.status_code == 201
    assert [each["role"] for each in made.json()["roles"]] == ["organization_member"]
    assert manager.http.post(path, json={"user": other.username}).status_code == 409
    assert manager.http.patch(f"{path}/{root.id}", json={"roles": ["organization_member"]}).status_code == 403
    assert manager.http.patch(f"{path}/{manager.id}", json={"roles": ["organization_admin"]}).status_code == 403
    assert manager.http.post(path, json={"user": str(uuid.uuid4())}).status_code == 404
    # Nor in a tenant that was not granted; in the own one everything.
    members = f"/tenants/{org}%2Fone/members"
    assert manager.http.get(f"/tenants/{org}/one").status_code == 200
    tenant = root.http.get(f"/tenants/{org}/one").json()["id"]
    given = {"user": other.username, "roles": ["tenant_viewer"]}
    assert manager.http.post(f"/tenants/{tenant}/members", json=given).status_code == 403
    own = manager.http.post("/tenants", json={"name": "own", "organization": org}).json()["id"]
    assert manager.http.post(f"/tenants/{own}/members", json=given).status_code == 201
    assert members


def test_the_last_administrator_stays(api: Installation, root: Actor, org: str) -> None:
    path = f"/organizations/{org}/members"
    assert root.http.delete(f"{path}/{root.id}").status_code == 409
    assert root.http.patch(f"{path}/{root.id}", json={"roles": ["organization_member"]}).status_code == 409
    second = person(api, org, "organization_admin")
    assert second.http.patch(f"{path}/{root.id}", json={"roles": ["organization_member"]}).status_code == 200
    assert second.http.delete(f"{path}/{second.id}").status_code == 409


def test_the_last_administrator_cannot_become_one_for_a_time(api: Installation, root: Actor, org: str) -> None:
    path = f"/organizations/{org}/members"
    ends = (utc_now() + dt.timedelta(hours=1)).isoformat()
    body = {"roles": ["organization_admin"], "expires": ends}
    assert root.http.patch(f"{path}/{root.id}", json=body).status_code == 409
    second = api.user(f"x{uuid.uuid4().hex[:8]}")
    assert root.http.post(path, json={"user": second.username, **body}).status_code == 201
    # Somebody whose role ends does not count as another administrator either.
    assert root.http.delete(f"{path}/{root.id}").status_code == 409
    assert second.http.delete(f"{path}/{second.id}").status_code == 204


def test_a_membership_that_ends_also_ends_in_the_tenants(api: Installation, root: Actor, org: str) -> None:
    who, other = api.user(f"x{uuid.uuid4().hex[:8]}"), person(api, org, "organization_member")
    now = utc_now()
    ends = now + dt.timedelta(hours=1)
    added = {"user": who.username, "expires": ends.isoformat()}
    assert root.http.post(f"/organizations/{org}/members", json=added).status_code == 201
    tenant = root.http.get(f"/tenants/{org}/one").json()["id"]
    for each in (who, other):
        body = {"user": each.username, "roles": ["tenant_admin"]}
        assert root.http.post(f"/tenants/{tenant}/members", json=body).status_code == 201
    resource = f"secret/{uuid.uuid4()}"
    with api.database.write() as session:
        session.add(
            Share(
                tenant_id=uuid.UUID(tenant),
                principal_id=who.id,
                principal_kind="user",
                resource=resource,
                actions=["read"],
                created_by=root.id,
            )
        )
        session.commit()

    def policy(at: dt.datetime) -> Policy:
        issuer = Issuer("http://127.0.0.1:8440", lambda: {"keys": []})
        with api.database.read() as session:
            return Policy.from_document(compile_policies(session, [uuid.UUID(tenant)], issuer, at)[uuid.UUID(tenant)])

    compiled = policy(now)
    before, after = ends.timestamp() - 1, ends.timestamp() + 1
    assert compiled.check(str(who.id), "read", resource, now=before).allowed
    # Time alone ends it, in a policy that was compiled while the membership lasted, shares and all.
    for action in ("read", "update"):
        assert not compiled.check(str(who.id), action, resource, now=after).allowed
    assert not compiled.token_allowed(str(who.id), before, None, after).allowed
    assert not compiled.administers(str(who.id), after).allowed
    assert compiled.check(str(other.id), "update", resource, now=after).allowed
    later = policy(ends + dt.timedelta(hours=1))
    assert str(who.id) not in later.principals
    assert str(other.id) in later.principals


def test_everybody_may_leave(api: Installation, root: Actor, org: str) -> None:
    who = person(api, org, "organization_member")
    assert who.http.delete(f"/organizations/{org}/members/{who.id}").status_code == 204
    assert who.http.get(f"/organizations/{org}").status_code == 404
    assert who.http.get("/organizations").json() == []


def test_leaving_ends_everything_in_the_tenants(api: Installation, root: Actor, org: str) -> None:
    who = person(api, org, "organization_member")
    tenant = root.http.get(f"/organizations/{org}/tenants").json()[0]["id"]
    project = str(uuid.uuid4())
    body = {"user": who.username, "roles": ["project_developer"], "project_id": project}
    made = root.http.post(f"/tenants/{tenant}/members", json=body)
    assert made.status_code == 201
    assert made.json()["roles"][0]["project_id"] == project
    assert [each["id"] for each in who.http.get("/tenants").json()] == [tenant]
    roles = [{"role": "project_developer", "project_id": project}, "tenant_contributor"]
    changed = root.http.patch(f"/tenants/{tenant}/members/{who.id}", json={"roles": roles})
    assert {each["role"] for each in changed.json()["roles"]} == {"project_developer", "tenant_contributor"}
    assert root.http.delete(f"/organizations/{org}/members/{who.id}").status_code == 204
    assert root.http.patch(f"/tenants/{tenant}/members/{who.id}", json={"roles": roles}).status_code == 404
    assert who.http.get("/tenants").json() == []
    # The account itself goes on.
    assert who.http.get("/users/me").status_code == 200


def test_roles_end_by_themselves(api: Installation, root: Actor, org: str) -> None:
    who = api.user(f"x{uuid.uuid4().hex[:8]}")
    ends = (utc_now() + dt.timedelta(hours=1)).isoformat()
    assert (
        root.http.post(f"/organizations/{org}/members", json={"user": who.username, "expires": ends}).status_code == 201
    )
    assert who.http.get(f"/organizations/{org}").status_code == 200
    try:
        api.offset = dt.timedelta(hours=2)
        assert who.http.get(f"/organizations/{org}").status_code == 404
        # Somebody whose roles have ended can be added again.
        again = root.http.post(f"/organizations/{org}/members", json={"user": who.username})
        assert again.status_code == 201
    finally:
        api.offset = dt.timedelta()


def test_service_accounts_belong_to_their_organization(api: Installation, root: Actor, org: str) -> None:
    robot = api.machine(f"robot{uuid.uuid4().hex[:6]}", org)
    body = {"user": robot.username}
    made = root.http.post(f"/organizations/{org}/members", json=body)
    assert made.status_code == 201
    assert made.json()["kind"] == "service_account"
    assert root.http.post("/organizations", json={"name": f"z{uuid.uuid4().hex[:8]}"}).status_code == 201
    other = root.http.get("/organizations").json()[-1]["name"]
    assert root.http.post(f"/organizations/{other}/members", json=body).status_code == 404


def test_ambiguous_names_list_the_choices(api: Installation, root: Actor, org: str) -> None:
    other = f"o{uuid.uuid4().hex[:10]}"
    shared = f"s{uuid.uuid4().hex[:8]}"
    for each in (org, other):
        root.http.post("/organizations", json={"name": each})
        assert root.http.post("/tenants", json={"name": shared, "organization": each}).status_code == 201
    for answer in (
        root.http.get(f"/tenants/{shared}"),
        root.http.get("/workspaces", params={"workspace_name": shared, "member_only": "False"}),
    ):
        assert answer.status_code == 409
        assert f"{org}/{shared}" in answer.json()["detail"]
        assert f"{other}/{shared}" in answer.json()["detail"]
    exact = root.http.get("/workspaces", params={"workspace_name": f"{org}/{shared}", "offset": 0, "limit": 20})
    assert [each["organization"]["name"] for each in exact.json()] == [org]
    url = exact.json()[0]["url"]
    assert len(root.http.get("/tenants", params={"url": url}).json()) == 1
    assert root.http.get("/tenants", params={"url": "http://elsewhere/t/a/b"}).json() == []
    # Whoever reaches one of them only may use the short name.
    who = person(api, other, "organization_viewer")
    assert who.http.get(f"/tenants/{shared}").json()["organization"]["name"] == other


def test_servers_ask_for_entitlements_and_report(api: Installation, root: Actor, org: str) -> None:
    tenant = root.http.get(f"/tenants/{org}/one").json()
    server = api.client(api.server_token(tenant["id"]))
    for path in ("/workspace_status", "/tenant_status"):
        assert server.patch(path).json() == {"tenant_id": tenant["id"]}
        assert root.http.patch(path).status_code == 401
    organization_id = tenant["organization"]["id"]
    answer = server.get(f"/organizations/{organization_id}/entitlement/pipeline")
    assert answer.json() == {"feature": "pipeline", "allowed": True}
    assert server.get(f"/organizations/{uuid.uuid4()}/entitlement/pipeline").status_code == 404


def test_filters(root: Actor, org: str) -> None:
    body = {"name": "lab", "organization": org, "stage": "staging", "labels": {"team": "vision"}, "description": "100%"}
    lab = root.http.post("/tenants", json=body).json()["id"]
    here = {"organization_id": org}
    for filters in ({"stage": "staging"}, {"label": "team=vision"}, {"search": "100%"}, {"tenant_name": "lab"}):
        assert [each["id"] for each in root.http.get("/tenants", params=here | filters).json()] == [lab], filters
    for filters in ({"stage": "production"}, {"label": "team=nlp"}, {"search": "0%1"}, {"status": "failed"}):
        assert root.http.get("/tenants", params=here | filters).json() == [], filters
    page = root.http.get("/tenants", params=here | {"limit": 2})
    assert (len(page.json()), page.headers["X-Total-Count"]) == (2, "3")
    assert 'rel="next"' in page.headers["Link"]
    changed = root.http.patch(f"/tenants/{lab}", json={"stage": None, "labels": {}, "display_name": "Lab"}).json()
    assert (changed["stage"], changed["labels"], changed["display_name"]) == (None, {}, "Lab")
    assert root.http.patch(f"/tenants/{lab}", json={"version": "0.94.6"}).status_code == 409


def test_changing_an_organization(root: Actor, org: str) -> None:
    body = root.http.patch(f"/organizations/{org}", json={"display_name": "Ours", "description": "d"}).json()
    assert (body["display_name"], body["description"], body["name"]) == ("Ours", "d", org)
    assert root.http.get("/organizations", params={"name": org}).json()[0]["display_name"] == "Ours"
