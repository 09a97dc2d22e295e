"""The installed ZenML versions: who sees what of them, and what new tenants can be made with."""

from collections.abc import Iterator

import pytest

from tests.api.tenants.installation import Actor, Installation, eventually, installation, ready

BROKEN = "The engine 0.94.6 is damaged: its package zenml is missing."


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("data"), default_engine="0.98.0") as running:
        yield running


@pytest.fixture(scope="module")
def root(api: Installation) -> Actor:
    actor = api.user("root", superuser=True)
    assert actor.http.post("/organizations", json={"name": "acme"}).status_code == 201
    return actor


@pytest.fixture
def engines(api: Installation, root: Actor) -> Iterator[None]:
    """Both engines, before and after."""
    yield
    change(api, root, "0.94.6", "0.98.0")


def change(api: Installation, root: Actor, *installed: str, **damaged: str) -> None:
    """Changes what is installed, and waits until the api has heard of it."""
    api.loop.call_soon_threadsafe(lambda: api.runtime.change_engines(*installed, **damaged))
    wanted = [(version, "damaged" if f"_{version.replace('.', '_')}" in damaged else "ready") for version in installed]
    eventually(lambda: [(each["version"], each["state"]) for each in root.http.get("/engines").json()] == wanted)


def create(root: Actor, name: str, version: str | None = None) -> tuple[int, dict[str, object]]:
    answer = root.http.post("/tenants", json={"name": name, "organization": "acme", "version": version})
    return answer.status_code, answer.json()


def test_superusers_see_how_many_tenants_need_each(api: Installation, root: Actor) -> None:
    status, made = create(root, "older", "0.94.6")
    assert status == 201
    ready(root, str(made["id"]))
    answer = root.http.get("/engines")
    common = {"state": "ready", "mode": "zygote", "reason": None}
    assert answer.json() == [
        {"version": "0.94.6", "default": False, "tenants": 1, **common},
        {"version": "0.98.0", "default": True, "tenants": 0, **common},
    ]
    assert answer.headers["X-Total-Count"] == "2"
    assert [each["version"] for each in root.http.get("/engines", params={"offset": 1}).json()] == ["0.98.0"]


def test_a_deleted_tenant_counts_while_it_can_be_restored(api: Installation, root: Actor) -> None:
    status, made = create(root, "gone", "0.94.6")
    assert status == 201
    ready(root, str(made["id"]))
    before = root.http.get("/engines").json()[0]["tenants"]
    assert root.http.patch(f"/tenants/{made['id']}", json={"protected": False}).status_code == 200
    assert root.http.delete(f"/tenants/{made['id']}").status_code < 300
    assert root.http.get("/engines").json()[0]["tenants"] == before


def test_other_people_see_versions_only(api: Installation, root: Actor, engines: None) -> None:
    change(api, root, "0.94.6", "0.98.0", _0_94_6=BROKEN)
    ada = api.user("ada")
    found = ada.http.get("/engines").json()
    assert [(each["version"], each["state"], each["tenants"], each["reason"]) for each in found] == [
        ("0.94.6", "damaged", None, None),
        ("0.98.0", "ready", None, None),
    ]
    assert root.http.get("/engines").json()[0]["reason"] == BROKEN


def test_nothing_is_made_with_a_damaged_engine(api: Installation, root: Actor, engines: None) -> None:
    change(api, root, "0.94.6", "0.98.0", _0_94_6=BROKEN)
    status, body = create(root, "refused", "0.94.6")
    assert (status, body["detail"]) == (422, "ZenML 0.94.6 is damaged here: use one of 0.98.0.")


def test_without_a_version_a_tenant_gets_one_that_works(api: Installation, root: Actor, engines: None) -> None:
    change(api, root, "0.94.6", "0.98.0", _0_98_0="broken")
    status, body = create(root, "fallback")
    assert (status, body["zenml_service"]["configuration"]) == (201, {"version": "0.94.6"})  # type: ignore[index]
    change(api, root, "0.94.6", _0_94_6=BROKEN)
    status, body = create(root, "nowhere")
    assert (status, body["detail"]) == (422, "ZenML 0.94.6 is damaged here: ask whoever runs this platform.")


def test_an_engine_that_is_installed_can_be_used_at_once(api: Installation, root: Actor, engines: None) -> None:
    change(api, root, "0.98.0")
    assert create(root, "early", "0.94.6")[0] == 422
    change(api, root, "0.94.6", "0.98.0")
    assert create(root, "early", "0.94.6")[0] == 201


def test_the_version_of_a_tenant_stays(api: Installation, root: Actor) -> None:
    _, made = create(root, "settled", "0.94.6")
    for path in ("tenants", "workspaces"):
        answer = root.http.patch(f"/{path}/{made['id']}", json={"version": "0.98.0"})
        assert answer.status_code == 409
        assert answer.json()["detail"].startswith("acme/settled runs ZenML 0.94.6: changing the version")
    assert root.http.patch(f"/tenants/{made['id']}", json={"version": "0.94.6"}).status_code == 200
