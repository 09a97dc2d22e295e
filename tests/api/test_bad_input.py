"""Input that is wrong in any way gets a clear 4xx, never a 5xx, and changes nothing."""

import json
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.api.routes import operations
from tests.api.world import Settled, World

BODIES: list[Any] = [
    None,
    [],
    "text",
    7,
    {"unknown_field": 1},
    {"name": "x" * 100_000},
    {"name": "nul\x00nul"},
    {"name": {"nested": []}},
    {"email": "no address", "user_code": 5, "display_name": "\x00", "roles": "x", "expires": "yesterday"},
]


def test_wrong_bodies_never_break_anything(settled: Settled) -> None:
    world = settled.world
    before = world.audited()
    for operation in operations(world.app):
        content = operation.description.get("requestBody", {}).get("content", {})
        if "application/json" not in content:
            continue
        for body in BODIES:
            answer = world.client.request(
                operation.method.upper(), operation.address(settled), headers=settled.root.auth, json=body
            )
            acceptable = answer.status_code < 500 and answer.status_code >= 400
            # Some updates have no field that is required: an empty change is none, but never an error of ours.
            assert acceptable, (operation.id, body if len(str(body)) < 200 else "long", answer.status_code)
            assert set(answer.json()) == {"error", "detail", "fields", "request_id"}
            assert answer.json()["detail"]
    assert world.audited() == before


@pytest.mark.parametrize(
    "query",
    [
        "page=1000000000000",
        "offset=1000000000000",
        "offset=-1",
        "limit=0",
        "limit=1001",
        "page=0",
        "page=x",
        "page=99999999999999999999999999",
        "page=1&offset=0",
        "size=5&limit=5",
    ],
)
def test_impossible_pages_of_every_list_are_refused_with_a_reason(settled: Settled, query: str) -> None:
    lists = [
        each
        for each in operations(settled.world.app)
        if {"offset", "page"} <= {parameter["name"] for parameter in each.description.get("parameters", [])}
    ]
    assert len(lists) >= 8
    token = settled.world.state.tokens.issue(
        "server", uuid.UUID(settled.tenant["id"]), audience="nagaya-server", seconds=60
    )
    for operation in lists:
        address = operation.address(settled)
        server = operation.security == ("server",)
        answer = settled.world.client.get(
            f"{address}{'&' if '?' in address else '?'}{query}",
            headers={"Authorization": f"Bearer {token}"} if server else settled.root.auth,
        )
        assert answer.status_code in (404, 422), (operation.id, answer.text)
        if answer.status_code == 422:
            assert any(part in answer.text for part in ("page", "offset", "limit", "size")), (operation.id, answer.text)


def test_lists_tell_their_length_and_neighbours(settled: Settled) -> None:
    world = settled.world
    for number in range(3):
        world.user(f"person{number}")
    answer = world.call("GET", "/users?search=person&limit=1&offset=1", settled.root)
    assert [each["username"] for each in answer.json()] == ["person1"]
    assert answer.headers["x-total-count"] == "3"
    link = answer.headers["link"]
    assert '</api/v1/users?search=person&offset=2&limit=1>; rel="next"' in link
    assert '</api/v1/users?search=person&offset=0&limit=1>; rel="prev"' in link
    same = world.call("GET", "/users?search=person&size=1&page=2", settled.root)
    assert same.json() == answer.json()


def test_bodies_over_the_limit_are_refused(settled: Settled) -> None:
    big = b'{"name": "' + b"x" * (1024 * 1024) + b'"}'
    headers = settled.root.auth | {"Content-Type": "application/json"}
    answer = settled.world.client.patch("/api/v1/users/me", content=big, headers=headers)
    assert answer.status_code == 413
    assert answer.json()["error"] == "PayloadTooLarge"
    chunks = settled.world.client.patch(
        "/api/v1/users/me", content=(big[at : at + 65_536] for at in range(0, len(big), 65_536)), headers=headers
    )
    assert chunks.status_code == 413


def test_broken_json_and_unknown_paths_and_methods(settled: Settled) -> None:
    world = settled.world
    headers = settled.root.auth | {"Content-Type": "application/json"}
    assert world.client.patch("/api/v1/users/me", content=b"{", headers=headers).status_code in (400, 422)
    assert world.client.patch("/api/v1/users/me", content=b"\xff", headers=headers).status_code in (400, 422)
    assert world.client.get("/api/v1/nothing").json()["error"] == "NotFound"
    wrong = world.client.put("/api/v1/users/me", json={})
    assert wrong.status_code == 405
    assert wrong.json()["error"] == "MethodNotAllowed"
    assert "GET" in wrong.headers["allow"]


def test_an_unexpected_failure_says_nothing_but_its_id(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(world.state.keys, "jwks", broken)
    answer = world.client.get("/api/v1/.well-known/jwks.json", headers={"X-Request-ID": "my-id"})
    assert answer.status_code == 500
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "my-id"
    assert "42" not in answer.text
    assert world.client.get("/api/v1/health").status_code == 200


_text = st.text(st.characters(), max_size=80) | st.sampled_from(["\x00", "'", "%", "../..", "﷽" * 50, "\ud800"])
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=8,
)


@seed(20_261_123)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_input_never_breaks_anything(settled: Settled, data: st.DataObject) -> None:
    world = settled.world
    operation = data.draw(st.sampled_from(operations(world.app)), label="operation")
    if operation.id == "follow_operation":
        return
    names = [
        name
        for content in operation.description.get("requestBody", {}).get("content", {}).values()
        for name in _properties(world, content["schema"])
    ]
    fields = st.dictionaries(st.sampled_from(names), _json, max_size=4) if names else _json
    body = data.draw(fields | _json, label="body")
    query = {
        parameter["name"]: data.draw(_text, label=parameter["name"])
        for parameter in operation.description.get("parameters", [])
        if parameter["in"] == "query" and data.draw(st.booleans())
    }
    answer = world.client.request(
        operation.method.upper(),
        operation.address(settled),
        params={name: value.encode("utf-8", "replace").decode() for name, value in query.items()},
        content=json.dumps(body).encode(),
        headers=settled.admin.auth | {"Content-Type": "application/json"},
    )
    assert answer.status_code < 500 or answer.json()["error"] == "Unavailable", answer.text


def _properties(world: World, schema: dict[str, Any]) -> list[str]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = world.app.openapi()["components"]["schemas"].get(name, {})
    return list(found.get("properties", {}))
