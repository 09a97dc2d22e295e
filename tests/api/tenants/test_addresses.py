"""Addresses of tenants: by path, by host, found by either, and told anew when the settings change."""

import time
import uuid
from pathlib import Path

from nagaya.http.settings import ApiSettings
from nagaya.runtime.interface import TenantState
from nagaya.tenants.readdressing import readdress
from nagaya.tenants.spec import Addresses
from tests.api.tenants.installation import PUBLIC_URL, Installation
from tests.api.tenants.runtimes import InstantRuntime

PATTERN = "{tenant}--{organization}.zenml.example.com"


def addresses(tmp_path: Path, pattern: str | None = PATTERN) -> Addresses:
    return Addresses.of(ApiSettings(data_dir=tmp_path, public_url=PUBLIC_URL, tenant_hosts=pattern))


def test_by_path_and_by_host(tmp_path: Path) -> None:
    by_path, by_host = addresses(tmp_path, None), addresses(tmp_path)
    assert by_path.tenant_url("acme", "one") == f"{PUBLIC_URL}/t/acme/one"
    assert by_path.root_path("acme", "one") == "/t/acme/one"
    own = "http://one--acme.zenml.example.com:8440"
    assert (by_host.tenant_url("acme", "one"), by_host.root_path("acme", "one")) == (own, "")
    # A name that no host can have keeps its path.
    assert (by_host.tenant_url("acme", "xn"), by_host.root_path("acme", "xn")) == (
        f"{PUBLIC_URL}/t/acme/xn",
        "/t/acme/xn",
    )
    assert by_host.api_url == by_path.api_url
    for url in (own, f"{own}/", f"{PUBLIC_URL}/t/acme/one", f"{PUBLIC_URL}/t/acme/one/"):
        assert by_host.split_url(url) == ("acme", "one")
    assert by_path.split_url(own) is None
    assert by_host.split_url(f"{PUBLIC_URL}/t/acme") is None


def test_a_change_of_the_pattern_is_applied_to_every_tenant_once(tmp_path: Path) -> None:
    runtime = InstantRuntime()
    with Installation(tmp_path, keep=runtime) as api:
        root = api.user("root", superuser=True)
        organization = root.http.post("/organizations", json={"name": "acme", "display_name": "Acme"}).json()["id"]
        made = [
            root.http.post("/tenants", json={"name": name, "organization_id": organization}).json()["id"]
            for name in ("one", "two", "xn")
        ]
        _until(lambda: all(root.http.get(f"/tenants/{each}").json()["status"] == "available" for each in made))
        specs = {each: runtime.specs[each] for each in made}
        told = {uuid.UUID(each): runtime.state_of(each) for each in made}
        assert readdress(api.database, Addresses(PUBLIC_URL), told) == 0
        changed = addresses(tmp_path)
        assert readdress(api.database, changed, told) == 2
        # What is under way is not raised once more, by this process or another one.
        assert readdress(api.database, changed, told) == 0
        unknown = TenantState.from_json(told[uuid.UUID(made[0])].to_json() | {"server_url": None})
        assert readdress(api.database, changed, {uuid.UUID(made[0]): unknown}) == 0
    settings = ApiSettings(data_dir=tmp_path, public_url=PUBLIC_URL, tenant_hosts=PATTERN)
    with Installation(tmp_path, keep=runtime, settings=settings):
        _until(lambda: runtime.specs[made[0]].root_path == runtime.specs[made[1]].root_path == "")
        for each in made[:2]:
            assert runtime.specs[each].generation == specs[each].generation + 1
            assert runtime.specs[each].server_url.endswith("--acme.zenml.example.com:8440")
        assert runtime.specs[made[2]] == specs[made[2]]
    # Started with nothing changed, and changed back without anybody raising generations beforehand.
    with Installation(tmp_path, keep=runtime):
        _until(lambda: all(runtime.specs[each].server_url.startswith(f"{PUBLIC_URL}/t/") for each in made))
        assert runtime.specs[made[0]].generation == specs[made[0]].generation + 2
        assert runtime.specs[made[2]].generation == specs[made[2]].generation


def test_lists_find_by_either_address(tmp_path: Path) -> None:
    settings = ApiSettings(data_dir=tmp_path, public_url=PUBLIC_URL, tenant_hosts=PATTERN)
    with Installation(tmp_path, settings=settings) as api:
        root = api.user("root", superuser=True)
        organization = root.http.post("/organizations", json={"name": "acme", "display_name": "Acme"}).json()["id"]
        tenant = root.http.post("/tenants", json={"name": "one", "organization_id": organization}).json()
        own = "http://one--acme.zenml.example.com:8440"
        assert tenant["url"] == own
        for url in (own, f"{own}/", f"{PUBLIC_URL}/t/acme/one"):
            for noun in ("tenants", "workspaces"):
                found = root.http.get(f"/{noun}", params={"url": url}).json()
                assert [each["id"] for each in found] == [tenant["id"]], url
        for url in ("http://two--acme.zenml.example.com:8440", "http://one--acme.zenml.example.com", "nonsense"):
            assert root.http.get("/tenants", params={"url": url}).json() == []


def _until(condition: object, seconds: float = 20) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)
