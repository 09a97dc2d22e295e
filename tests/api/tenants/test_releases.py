"""The versions that new tenants can have, newest first."""

from nagaya.tenants.platform import platform_of
from tests.api.world import Settled


def test_installed_versions_are_listed(settled: Settled) -> None:
    world = settled.world
    assert world.made("GET", "/releases", settled.admin) == []
    engines = platform_of(world.state).engines
    engines.learn({"engines": [{"version": "0.98.0"}, {"version": "0.94.6"}]})
    expected = [
        {"service": "zenml", "version": "0.98.0", "default": True},
        {"service": "zenml", "version": "0.94.6", "default": False},
    ]
    assert world.made("GET", "/releases", settled.admin) == expected
    assert world.made("GET", "/releases/zenml", settled.admin) == expected
    page = world.call("GET", "/releases?limit=1&offset=1", settled.admin)
    assert (page.json(), page.headers["x-total-count"]) == (expected[1:], "2")
    assert world.call("GET", "/releases/mlflow", settled.admin).status_code == 404
    assert world.call("GET", "/releases").status_code == 401
