"""Keys of service accounts never give more than their maker has."""

import uuid
from collections.abc import Iterator

import pytest

from nagaya.access.models import Share
from tests.api.tenants.installation import Actor, Installation, installation


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(scope="module")
def root(api: Installation) -> Actor:
    root = api.user("root", superuser=True)
    assert root.http.post("/organizations", json={"name": "acme", "tenants": [{"name": "one"}]}).status_code == 201
    return root


@pytest.fixture
def manager(api: Installation, root: Actor) -> Actor:
    who = api.user(f"m{uuid.uuid4().hex[:10]}")
    api.give(who, "organization_manager", "acme")
    return who


def account(by: Actor) -> str:
    made = by.http.post(
        "/organizations/acme/service_accounts", json={"name": f"robot{uuid.uuid4().hex[:8]}", "roles": []}
    )
    assert made.status_code == 201
    return str(made.json()["id"])


def mint(by: Actor, machine: str) -> int:
    path = f"/organizations/acme/service_accounts/{machine}/api_keys"
    return by.http.post(path, json={"name": f"k{uuid.uuid4().hex[:8]}"}).status_code


def member(root: Actor, machine: str, role: str) -> None:
    added = root.http.post("/organizations/acme/members", json={"user": machine, "roles": [role]})
    assert added.status_code == 201, added.text


def test_a_manager_makes_keys_of_accounts_that_hold_no_more(root: Actor, manager: Actor) -> None:
    machine = account(manager)
    assert mint(manager, machine) == 201
    member(root, machine, "organization_member")
    assert mint(manager, machine) == 201


def test_a_new_account_is_a_member_at_once(root: Actor, manager: Actor) -> None:
    place = "/organizations/acme/service_accounts"
    machine = manager.http.post(place, json={"name": "ready"}).json()
    members = {item["username"]: item for item in root.http.get("/organizations/acme/members").json()}
    assert [held["role"] for held in members["ready"]["roles"]] == ["organization_member"]
    assert mint(manager, machine["id"]) == 201
    found = root.http.get("/organizations/acme/audit_events", params={"target_id": machine["id"]}).json()
    assert {"service_account.create", "organization_member.create"} <= {item["action"] for item in found}


def test_nobody_gives_an_account_more_than_they_may(root: Actor, manager: Actor) -> None:
    place = "/organizations/acme/service_accounts"
    refused = manager.http.post(place, json={"name": "mighty", "roles": ["organization_admin"]})
    assert refused.status_code == 403
    for roles in (["tenant_admin"], ["organization_member"] * 2, ["nothing"]):
        assert root.http.post(place, json={"name": "odd", "roles": roles}).status_code == 422
    names = {item["name"] for item in root.http.get(place).json()}
    assert not names & {"mighty", "odd"}
    assert root.http.post(place, json={"name": "mighty", "roles": ["organization_admin"]}).status_code == 201
    assert root.http.post(place, json={"name": "some@example.com"}).status_code == 422


def test_a_manager_gets_no_key_of_an_administrator(root: Actor, manager: Actor) -> None:
    machine = account(manager)
    member(root, machine, "organization_admin")
    path = f"/organizations/acme/service_accounts/{machine}/api_keys"
    key = root.http.post(path, json={"name": "first"}).json()["id"]
    refused = manager.http.post(path, json={"name": "second"})
    assert refused.status_code == 403
    assert "would give you more than you have" in refused.json()["detail"]
    assert manager.http.post(f"{path}/{key}/rotate", json={}).status_code == 403
    assert manager.http.patch(f"{path}/{key}", json={"is_active": False}).status_code == 200
    assert manager.http.patch(f"{path}/{key}", json={"is_active": True}).status_code == 403
    assert root.http.post(f"{path}/{key}/rotate", json={}).status_code == 201


def test_nor_of_an_account_with_a_role_in_a_tenant_of_others(root: Actor, manager: Actor) -> None:
    machine = account(manager)
    member(root, machine, "organization_member")
    tenant = root.http.get("/tenants/acme/one").json()["id"]
    body = {"user": machine, "roles": ["tenant_viewer"]}
    assert root.http.post(f"/tenants/{tenant}/members", json=body).status_code == 201
    assert mint(manager, machine) == 403
    given = {"user": manager.username, "roles": ["tenant_admin"]}
    assert root.http.post(f"/tenants/{tenant}/members", json=given).status_code == 201
    assert mint(manager, machine) == 201


def test_nor_of_one_with_whom_something_is_shared(api: Installation, root: Actor, manager: Actor) -> None:
    machine = account(manager)
    member(root, machine, "organization_member")
    tenant = uuid.UUID(root.http.get("/tenants/acme/one").json()["id"])
    with api.database.write() as session:
        resource = f"secret/{uuid.uuid4()}"
        session.add(
            Share(
                tenant_id=tenant,
                principal_id=uuid.UUID(machine),
                principal_kind="service_account",
                resource=resource,
                actions=["read"],
                created_by=root.id,
            )
        )
        session.commit()
    assert mint(manager, machine) == 403
    assert mint(root, machine) == 201
