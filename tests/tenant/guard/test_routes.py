"""The route table: complete for the real application, and matched exactly as the application matches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nagaya_tenant.routes import Access, Route, Router, routes_of, table_for
from nagaya_tenant.version import installed, known

if TYPE_CHECKING:
    from world import World

ONLY_WITH_A_WORKLOAD_MANAGER = {
    ("POST", "/api/v1/runs/{run_id}/replay"),
    ("POST", "/api/v1/pipeline_snapshots/{snapshot_id}/runs"),
    ("POST", "/api/v1/run_templates/{template_id}/runs"),
}


def test_every_route_of_the_engine_is_in_the_table(world: World) -> None:
    table = table_for(installed())
    declared = set(routes_of(world.zenml))
    assert declared - set(table) == set()
    assert set(table) - declared == ONLY_WITH_A_WORKLOAD_MANAGER


def test_whatever_is_not_left_to_zenml_has_a_reason() -> None:
    for route in table_for(installed()).values():
        if route.access in {Access.PUBLIC, Access.REFUSED, Access.CHECKED}:
            assert route.reason, route


def test_every_change_is_recorded_or_excepted() -> None:
    quiet = {
        f"{route.method} {route.path}"
        for route in table_for(installed()).values()
        if route.method != "GET" and route.access in {Access.ZENML, Access.CHECKED} and not route.audit
    }
    assert quiet == {
        "POST /api/v1/runs/statistics",
        "POST /api/v1/runs/{pipeline_run_id}/events",
        "POST /api/v1/runs/{run_id}/refresh",
        "POST /api/v1/service_connectors/full_stack_resources",
        "POST /api/v1/service_connectors/verify",
        "PUT /api/v1/run_wait_conditions/{run_wait_condition_id}",
        "PUT /api/v1/service_connectors/{connector_id}/verify",
        "PUT /api/v1/steps/{step_run_id}/heartbeat",
    }


def test_an_engine_that_can_be_forked_has_a_route_table() -> None:
    assert set(known("forks")) <= set(known("routes"))
    for version in known("routes"):
        assert table_for(version)


def test_an_engine_without_a_table_is_refused() -> None:
    with pytest.raises(LookupError, match=r"no route table for ZenML 1\.2\.3"):
        table_for("1.2.3")


def test_a_route_that_the_table_does_not_know_is_refused() -> None:
    router = Router([("GET", "/new")], {})
    found = router.match("GET", "/new")
    assert found is not None
    assert found.route.access is Access.REFUSED
    assert router.missing == [("GET", "/new")]


def test_the_first_declared_route_wins() -> None:
    declared = [("GET", "/a/{x}"), ("GET", "/a/b"), ("GET", "/c/d"), ("GET", "/c/{y}"), ("GET", "/{z:path}")]
    table = {key: Route(method="GET", path=key[1], access=Access.ZENML) for key in declared}
    router = Router(declared, table)
    found = {path: router.match("GET", path) for path in ("/a/b", "/c/d", "/c/e", "/a/b/c", "/a/", "/a/b\n")}
    assert {path: match.route.path for path, match in found.items() if match} == {
        "/a/b": "/a/{x}",
        "/c/d": "/c/d",
        "/c/e": "/c/{y}",
        "/a/b/c": "/{z:path}",
        "/a/": "/{z:path}",
        "/a/b\n": "/a/{x}",
    }
    assert router.match("POST", "/a/b") is None
