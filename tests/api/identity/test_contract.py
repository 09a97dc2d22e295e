"""Users, connections and names as ZenML's own scripts and clients ask for them."""

from typing import Any

import pytest

from tests.api.world import PASSWORD, Settled


@pytest.mark.parametrize(
    ("query", "email", "username"),
    [
        ({"username": "bob", "password": PASSWORD, "is_superuser": "True"}, "bob@users.invalid", "bob"),
        ({"email": "bob.b@example.com", "password": PASSWORD}, "bob.b@example.com", "bob.b"),
        ({"email": "bob@example.com", "username": "bobby", "is_superuser": "False"}, "bob@example.com", "bobby"),
    ],
)
def test_users_are_made_by_query_as_well(settled: Settled, query: dict[str, str], email: str, username: str) -> None:
    made = settled.world.made("POST", "/users", settled.root, params=query)
    assert (made["email"], made["username"]) == (email, username)
    assert made["is_superuser"] is (query.get("is_superuser") == "True")
    assert (made["password_link"] is None) is ("password" in query)
    if "password" in query:
        assert settled.world.made("POST", "/auth/login", data={"username": username, "password": PASSWORD})


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (None, {}),
        ({}, {}),
        ({"email": "bob@example.com"}, {"username": "bob"}),
        (None, {"username": "B"}),
        (None, {"username": "bob", "password": "short"}),
        (None, {"username": "bob", "is_superuser": "perhaps"}),
        (None, {"email": "bob"}),
    ],
)
def test_bad_users_are_not_made(settled: Settled, body: Any, query: dict[str, str]) -> None:
    arguments = {} if body is None else {"json": body}
    answer = settled.world.call("POST", "/users", settled.root, params=query, **arguments)
    assert answer.status_code == 422, answer.text
    assert "short" not in answer.text
    assert settled.world.call("POST", "/users", settled.admin, params=query, **arguments).status_code == 403


def test_users_are_found_by_id_address_and_name(settled: Settled) -> None:
    world = settled.world
    found = [world.made("GET", f"/users/{name}", settled.root) for name in (settled.admin.id, "ada", "ADA@example.com")]
    assert {each["id"] for each in found} == {str(settled.admin.id)}
    for name in ("nobody@example.com", "11111111-1111-4111-8111-111111111111", "%00"):
        assert world.call("GET", f"/users/{name}", settled.root).status_code == 404
    assert world.call("GET", "/users/ada", settled.admin).status_code == 403
    assert [each["username"] for each in world.made("GET", "/users?q=ADA%40", settled.root)] == ["ada"]
    assert world.made("GET", "/users?q=%25", settled.root) == []


def test_the_ways_to_sign_in(settled: Settled) -> None:
    assert settled.world.made("GET", "/auth/connections") == [
        {"name": "password", "display_name": "User name and password"}
    ]


def test_tenants_by_their_place_and_lists_by_search(settled: Settled) -> None:
    world, admin = settled.world, settled.admin
    for noun in ("tenant", "workspace"):
        assert world.made("GET", f"/organizations/acme/{noun}/staging", admin)["id"] == settled.tenant["id"]
        assert world.call("GET", f"/organizations/acme/{noun}/none", admin).status_code == 404
        assert world.call("GET", f"/organizations/acme/{noun}/staging", settled.stranger).status_code == 404
        taken = world.made("GET", f"/organizations/acme/validation/{noun}_name/staging", admin)
        assert taken["valid"] is False
        for query, count in (("q=STAG", 1), ("q=nothing", 0), ("q=%5F", 0), ("search=tagi", 1)):
            assert len(world.made("GET", f"/{noun}s?{query}", admin)) == count
        assert len(world.made("GET", f"/organizations/acme/{noun}s?q=stag", admin)) == 1
        exact = f"/{noun}s?{noun}_name=staging&member_only=False&offset=0&limit=20&organization_id=acme"
        assert len(world.made("GET", exact, admin)) == 1
    assert [each["name"] for each in world.made("GET", "/organizations?q=ACM", settled.root)] == ["acme"]
    people = world.call("GET", "/organizations/acme/members?q=Ada", admin)
    assert [each["username"] for each in people.json()] == ["ada"]
    assert people.headers["X-Total-Count"] == "1"
