"""Every operation refuses whoever sends no, expired, revoked, foreign or garbage credentials."""

import uuid

from nagaya.http.transactions import UnitOfWork
from nagaya.identity.service import authentication, sessions
from tests.api.routes import PUBLIC, operations
from tests.api.world import Settled


def bad_credentials(settled: Settled) -> dict[str, dict[str, str]]:
    """Headers by what is wrong with them."""
    world, admin = settled.world, settled.admin
    ended = world.again(admin)
    with UnitOfWork(world.state.database) as work:
        principal = authentication.by_token(work.session, world.state, ended.token)
        sessions.end(work, world.state, principal, ended.session_id)
    issue = world.state.tokens.issue
    tenant = issue("tenant", admin.id, audience=settled.tenant["id"], seconds=60, session_id=admin.session_id)
    unknown = issue("session", uuid.uuid4(), audience="nagaya", seconds=60, session_id=admin.session_id)
    expired = issue("session", admin.id, audience="nagaya", seconds=0, session_id=admin.session_id)
    other = issue("server", admin.id, audience="nagaya", seconds=60, session_id=admin.session_id)
    header, payload, signature = admin.token.split(".")
    unsigned = "eyJhbGciOiJub25lIn0." + payload + "."
    bearer = {
        "garbage": "garbage",
        "three parts of garbage": "a.b.c",
        "no signature": unsigned,
        "a changed signature": f"{header}.{payload}.{'A' * len(signature)}",
        "revoked": ended.token,
        "a tenant's token": tenant,
        "of somebody else's session": unknown,
        "expired": expired,
        "of another type": other,
        "a mistyped key": "ZENPROKEY_" + "A" * 46,
        "a key of an open-source server": "ZENKEY_abc",
        "too long": "a" * 10_000,
        "the platform's cookie name": f"nagaya={admin.token}",
    }
    return {name: {"Authorization": f"Bearer {token}"} for name, token in bearer.items()} | {
        "none": {},
        "basic": {"Authorization": "Basic YWRhOnNldmVu"},
        "an empty bearer": {"Authorization": "Bearer "},
        "a cookie that is no browser's session": {"Cookie": f"nagaya={admin.token}", "X-Nagaya-CSRF": "1"},
        "a cookie of garbage": {"Cookie": "nagaya=garbage", "X-Nagaya-CSRF": "1"},
    }


def test_every_operation_refuses_bad_credentials(settled: Settled) -> None:
    before = None
    bad = bad_credentials(settled)
    before = settled.world.audited()
    guarded = [each for each in operations(settled.world.app) if each.id not in PUBLIC]
    assert len(guarded) > 60
    for operation in guarded:
        assert operation.security, f"{operation.id} declares no credentials"
        for name, headers in bad.items():
            answer = settled.world.client.request(operation.method.upper(), operation.address(settled), headers=headers)
            assert answer.status_code == 401, (operation.id, name, answer.status_code, answer.text)
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.json()["error"] == "NotAuthenticated"
    assert settled.world.audited() == before


def test_people_and_servers_cannot_use_each_others_operations(settled: Settled) -> None:
    world = settled.world
    server = world.state.tokens.issue("server", uuid.UUID(settled.tenant["id"]), audience="nagaya-server", seconds=60)
    for operation in operations(world.app):
        if operation.id in PUBLIC:
            continue
        token = settled.root.token if operation.security == ("server",) else server
        answer = world.client.request(
            operation.method.upper(), operation.address(settled), headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status_code == 401, (operation.id, answer.text)


def test_another_organizations_people_get_nothing(settled: Settled) -> None:
    world = settled.world
    before = world.audited()
    checked = 0
    for operation in operations(world.app):
        if not {"{organization}", "{tenant}", "{tenant_id}"} & set(operation.path.split("/")):
            continue
        checked += 1
        body = {"json": {}} if operation.description.get("requestBody") else {}
        answer = world.client.request(
            operation.method.upper(), operation.address(settled), headers=settled.stranger.auth, **body
        )
        assert answer.status_code == 404, (operation.id, answer.status_code, answer.text)
    assert checked > 40
    assert world.audited() == before


def test_operation_ids_and_public_operations_are_what_we_think(settled: Settled) -> None:
    found = operations(settled.world.app)
    ids = [each.id for each in found]
    assert len(set(ids)) == len(ids)
    assert {each.id for each in found if not each.security} == PUBLIC


def test_a_cookie_cannot_change_anything_from_another_site(settled: Settled) -> None:
    world = settled.world
    browser = world.again(settled.admin, "browser")
    cookie = {"Cookie": f"nagaya={browser.token}"}
    cases = [
        ({}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.test"}, 403),
        ({"Origin": "http://nagaya.test"}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"X-Nagaya-CSRF": "1"}, 200),
        ({"X-Nagaya-CSRF": "1", "Origin": "http://NAGAYA.test", "Sec-Fetch-Site": "none"}, 200),
        ({"X-Nagaya-CSRF": "1", "Origin": "http://evil.test"}, 403),
        ({"X-Nagaya-CSRF": "1", "Origin": "null"}, 403),
        ({"X-Nagaya-CSRF": "1", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"X-Nagaya-CSRF": "1", "Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "localhost:8440", "Origin": "http://localhost:8440", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": "localhost:8440", "Origin": "http://evil.test:8440", "X-Nagaya-CSRF": "1"}, 403),
    ]
    for headers, status in cases:
        answer = world.client.patch("/api/v1/users/me", json={"name": "Ada"}, headers=cookie | headers)
        assert answer.status_code == status, headers
    assert world.client.get("/api/v1/users/me", headers=cookie).status_code == 200
