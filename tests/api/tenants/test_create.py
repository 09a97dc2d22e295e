"""Making tenants: names, versions, idempotency, and how fast the runtime hears of it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.tenants.installation import Actor, Installation, ready


@pytest.fixture(scope="module")
def root(api: Installation) -> Actor:
    actor = api.user("root", superuser=True)
    assert actor.http.post("/organizations", json={"name": "acme"}).status_code == 201
    return actor


def test_a_new_tenant_becomes_available(api: Installation, root: Actor) -> None:
    answer = root.http.post("/tenants", json={"display_name": "Staging Área 1", "organization": "acme"})
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["status"] == "pending"
    assert body["name"] == "staging-area-1"
    assert body["zenml_service"] == {"configuration": {"version": "0.98.0"}, "status": None}
    assert answer.headers["Nagaya-Operation"] == body["operation"]["id"]
    body = ready(root, body["id"])
    assert body["zenml_service"]["status"]["server_url"] == "http://127.0.0.1:8440/t/acme/staging-area-1"
    assert body["activity"] == "awake"
    operation = root.http.get(f"/operations/{body['operation']['id']}").json()
    assert [phase["name"] for phase in operation["phases"]] == ["queued", "sealed", "spawning", "ready"]
    assert {phase["status"] for phase in operation["phases"]} == {"succeeded"}
    spec = api.runtime.specs[body["id"]]
    assert spec.root_path == "/t/acme/staging-area-1"
    assert api.runtime.policies[body["id"]]["principals"][str(root.id)]["superuser"] is True


def test_twenty_at_once_make_one(api: Installation, root: Actor) -> None:
    def create(_: int) -> int:
        return root.http.post("/tenants", json={"name": "same", "organization": "acme"}).status_code

    with ThreadPoolExecutor(20) as pool:
        codes = sorted(pool.map(create, range(20)))
    assert codes == [201] + [409] * 19


def test_the_same_key_makes_one(root: Actor) -> None:
    headers = {"Idempotency-Key": "k-1"}
    body = {"name": "keyed", "organization": "acme"}
    answers = [root.http.post("/tenants", json=body, headers=headers) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len({answer.headers["Nagaya-Operation"] for answer in answers}) == 1
    other = root.http.post("/tenants", json={"name": "other", "organization": "acme"}, headers=headers)
    assert other.status_code == 409
    assert "Idempotency-Key" in other.json()["detail"]


def test_an_unknown_version_lists_what_is_installed(root: Actor) -> None:
    answer = root.http.post("/tenants", json={"name": "old", "organization": "acme", "version": "0.1"})
    assert answer.status_code == 422
    assert "0.94.6, 0.98.0" in answer.json()["detail"]
    assert "version" in answer.json()["fields"]
