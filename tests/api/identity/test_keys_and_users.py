"""API keys, users, service accounts, and what servers and gateways ask about them."""

import datetime as dt
import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from nagaya.http.internal import create_internal_app
from nagaya.identity.service import key_format
from tests.api.world import PASSWORD, Settled, World


def with_key(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def exchange(world: World, key: str) -> tuple[int, dict]:  # type: ignore[type-arg]
    answer = world.call("POST", "/auth/login", data={"password": key}, headers=with_key(key))
    return answer.status_code, answer.json()


@given(st.integers(0, 45), st.sampled_from(key_format.ALPHABET))
def test_every_single_typing_error_in_a_key_is_caught(place: int, letter: str) -> None:
    key = key_format.generate()
    at = len(key_format.PREFIX) + place
    changed = key[:at] + letter + key[at + 1 :]
    assert key_format.well_formed(key)
    assert key_format.well_formed(changed) == (changed == key)


def test_a_key_is_shown_once_and_can_be_used_and_exchanged(world: World) -> None:
    ada = world.user("ada")
    made = world.made("POST", "/users/me/api_keys", ada, json={"name": "ci"})
    key = made["key"]
    assert key.startswith("ZENPROKEY_")
    assert made["hint"] == key[-4:]
    assert dt.datetime.fromisoformat(made["expires"]) == world.clock.time + dt.timedelta(days=90)
    assert key not in str(world.made("GET", "/users/me/api_keys", ada))
    assert world.call("GET", "/users/me", headers=with_key(key)).json()["username"] == "ada"
    status, body = exchange(world, key)
    assert status == 200
    assert body["expires_in"] == 86_400
    assert world.call("GET", "/users/me", headers=with_key(body["access_token"])).status_code == 200
    world.state.activity.flush(world.state.database)
    assert world.made("GET", f"/users/me/api_keys/{made['id']}", ada)["last_used"] is not None


def test_a_key_cannot_make_keys_or_change_the_password(world: World) -> None:
    ada = world.user("ada")
    key = world.made("POST", "/users/me/api_keys", ada, json={"name": "ci"})["key"]
    token = exchange(world, key)[1]["access_token"]
    for credential in (key, token):
        auth = with_key(credential)
        assert world.call("POST", "/users/me/api_keys", headers=auth, json={"name": "x"}).status_code == 403
        body = {"old_password": PASSWORD, "new_password": "a completely other one"}
        assert world.call("PUT", "/users/me/password", headers=auth, json=body).status_code == 403
    for path in ("/auth/logout", f"/auth/tenant_authorization/{uuid.uuid4()}"):
        assert world.call("POST", path, headers=with_key(key)).status_code in (403, 404)
    assert world.call("GET", "/auth/api_token", headers=with_key(key)).status_code == 403


@pytest.mark.parametrize("how", ["revoke", "deactivate", "expire"])
def test_a_key_that_ended_takes_its_sessions_with_it(world: World, how: str) -> None:
    ada = world.user("ada")
    made = world.made("POST", "/users/me/api_keys", ada, json={"name": "ci", "expires_in_minutes": 60})
    token = exchange(world, made["key"])[1]["access_token"]
    place = f"/users/me/api_keys/{made['id']}"
    if how == "revoke":
        world.made("DELETE", place, ada)
    elif how == "deactivate":
        world.made("PATCH", place, ada, json={"is_active": False})
    else:
        world.clock.forward(3600)
    assert exchange(world, made["key"])[0] == 401
    assert world.call("GET", "/users/me", headers=with_key(made["key"])).status_code == 401
    if how != "expire":
        assert world.call("GET", "/users/me", headers=with_key(token)).status_code == 401
    if how == "revoke":
        assert world.call("PATCH", place, ada, json={"is_active": True}).status_code == 409


def test_rotation_keeps_the_old_value_for_the_period_that_was_asked_for(world: World) -> None:
    ada = world.user("ada")
    made = world.made("POST", "/users/me/api_keys", ada, json={"name": "ci"})
    place = f"/users/me/api_keys/{made['id']}/rotate"
    new = world.made("POST", place, ada, json={"retain_period_minutes": 10})
    assert new["name"] == "ci"
    assert new["key"] != made["key"]
    assert exchange(world, made["key"])[0] == exchange(world, new["key"])[0] == 200
    world.clock.forward(601)
    assert exchange(world, made["key"])[0] == 401
    assert exchange(world, new["key"])[0] == 200
    assert world.call("POST", place, ada, json={}).status_code == 409


def test_lives_and_names_of_keys_are_bounded(world: World) -> None:
    ada = world.user("ada")
    world.made("POST", "/users/me/api_keys", ada, json={"name": "ci"})
    far = (world.clock.time + dt.timedelta(days=366)).isoformat()
    past = (world.clock.time - dt.timedelta(days=1)).isoformat()
    bodies = [
        ({"name": "ci"}, 409),
        ({"name": "a", "expires": far}, 422),
        ({"name": "a", "expires": past}, 422),
        ({"name": "a", "expires": "2030-01-01T00:00:00"}, 422),
        ({"name": "a", "expires": far, "expires_in_minutes": 5}, 422),
        ({"name": " "}, 422),
        ({"name": "a", "key": "mine"}, 422),
    ]
    for body, status in bodies:
        assert world.call("POST", "/users/me/api_keys", ada, json=body).status_code == status, body


def test_user_names_are_never_given_away_again(settled: Settled) -> None:
    world, root = settled.world, settled.root
    made = world.made("POST", "/users", root, json={"email": "Grace.Hopper@example.com"})
    assert made["username"] == "grace.hopper"
    again = world.made("POST", "/users", root, json={"email": "grace.hopper@example.org"})
    assert again["username"] == "grace.hopper-2"
    world.made("DELETE", f"/users/{made['id']}", root)
    assert world.call("GET", f"/users/{made['id']}", root).status_code == 404
    for body in ({"email": "x@example.com", "username": "grace.hopper"}, {"email": "grace.HOPPER@example.com"}):
        assert world.call("POST", "/users", root, json=body).status_code == 409
    account = {"name": "grace.hopper"}
    answer = world.call("POST", "/organizations/acme/service_accounts", settled.admin, json=account)
    assert answer.status_code == 409


@pytest.mark.parametrize("name", ["nagaya", "default", "system"])
def test_reserved_names_are_given_to_nobody(settled: Settled, name: str) -> None:
    world, root = settled.world, settled.root
    asked = world.call("POST", "/users", root, json={"email": "x@example.com", "username": name})
    assert asked.status_code == 409
    assert asked.json()["detail"].startswith(f"The name '{name}' is reserved")
    assert asked.json()["fields"] == {"username": "is reserved"}
    answer = world.call("POST", "/organizations/acme/service_accounts", settled.admin, json={"name": name})
    assert (answer.status_code, answer.json()["fields"]) == (409, {"name": "is reserved"})
    # An email is not a wish for a name: the next free one is made from it.
    assert world.made("POST", "/users", root, json={"email": f"{name}@example.com"})["username"] == f"{name}-2"


def test_there_is_always_a_superuser_and_only_they_manage_users(settled: Settled) -> None:
    world, root = settled.world, settled.root
    for change in ({"is_superuser": False}, {"is_active": False}):
        assert world.call("PATCH", f"/users/{root.id}", root, json=change).status_code == 409
    assert world.call("DELETE", f"/users/{root.id}", root).status_code == 403
    for method, path in (("GET", "/users"), ("GET", f"/users/{root.id}"), ("DELETE", f"/users/{root.id}")):
        answer = world.call(method, path, settled.admin)
        assert answer.status_code == 403
        assert "superuser" in answer.json()["detail"]
    world.made("PATCH", f"/users/{settled.admin.id}", root, json={"is_superuser": True, "password": "other words here"})
    ada = world.made("POST", "/auth/login", data={"username": "ada", "password": "other words here"})
    assert world.call("GET", "/users", headers=with_key(ada["access_token"])).status_code == 200
    assert world.call("GET", "/users/me", settled.admin).status_code == 401


def authorize(world: World, tenant_id: str, token: str) -> tuple[int, dict]:  # type: ignore[type-arg]
    answer = world.call("GET", f"/users/authorize_server?server_id={tenant_id}", headers=with_key(token))
    return answer.status_code, answer.json()


def test_servers_learn_who_shows_them_a_token(settled: Settled) -> None:
    world, tenant = settled.world, settled.tenant["id"]
    status, body = authorize(world, tenant, settled.admin.token)
    assert status == 200
    assert body == {
        "id": str(settled.admin.id),
        "username": "ada",
        "email": "ada@example.com",
        "name": "Ada",
        "is_admin": False,
        "is_superuser": False,
        "is_service_account": False,
        "avatar_url": None,
        "oidc_claims": None,
    }
    assert authorize(world, tenant, settled.stranger.token)[0] == 403
    assert authorize(world, str(uuid.uuid4()), settled.admin.token)[0] == 403
    key = world.made("POST", "/users/me/api_keys", settled.admin, json={"name": "k"})["key"]
    assert authorize(world, tenant, key)[0] == 401
    assert authorize(world, tenant, exchange(world, key)[1]["access_token"])[0] == 200
    root = authorize(world, tenant, settled.root.token)[1]
    assert root["is_admin"]
    assert root["is_superuser"]


def test_service_accounts_act_within_their_roles(settled: Settled) -> None:
    world, tenant = settled.world, settled.tenant["id"]
    place = "/organizations/acme/service_accounts"
    made = world.made("POST", place, settled.admin, json={"name": "robot", "description": "builds", "roles": []})
    key = world.made("POST", f"{place}/{made['id']}/api_keys", settled.admin, json={"name": "ci"})["key"]
    token = exchange(world, key)[1]["access_token"]
    me = world.call("GET", "/users/me", headers=with_key(token)).json()
    assert (me["kind"], me["username"], me["organization_id"]) == (
        "service_account",
        "robot",
        settled.organization["id"],
    )
    assert authorize(world, tenant, token)[0] == 403
    body = {"user": "robot", "roles": ["organization_member"]}
    world.made("POST", "/organizations/acme/members", settled.admin, json=body)
    world.made(
        "POST", f"/tenants/{tenant}/members", settled.admin, json={"user": "robot", "roles": ["tenant_developer"]}
    )
    status, seen = authorize(world, tenant, token)
    assert status == 200
    assert seen["is_service_account"]
    assert seen["email"]
    assert world.call("GET", "/users/me/api_keys", headers=with_key(token)).status_code == 403
    world.made("DELETE", f"{place}/{made['id']}", settled.admin)
    assert world.call("GET", "/users/me", headers=with_key(token)).status_code == 401
    assert exchange(world, key)[0] == 401


def test_servers_sign_in_with_their_client_secret(settled: Settled) -> None:
    world, tenant = settled.world, settled.tenant["id"]
    form = {
        "grant_type": "client_credentials",
        "client_id": tenant,
        "client_secret": world.client_secret(tenant),
        "audience": "x",
    }
    body = world.made("POST", "/auth/login", data=form)
    assert body["expires_in"] == 3600
    auth = with_key(body["access_token"])
    assert world.call("PATCH", "/workspace_status", headers=auth).status_code == 200
    for wrong in ({"client_secret": "x"}, {"client_id": str(uuid.uuid4())}, {"client_id": "me"}, {"client_secret": ""}):
        answer = world.call("POST", "/auth/login", data=form | wrong)
        assert answer.status_code == 401
        assert answer.json()["error"] == "invalid_client"


def test_the_gateway_turns_a_cookie_into_a_tenant_token(settled: Settled) -> None:
    world, tenant = settled.world, settled.tenant["id"]
    browser = world.again(settled.admin, "browser")
    internal = TestClient(create_internal_app(world.state), raise_server_exceptions=False)

    def ask(cookie: str, wanted: str = tenant) -> tuple[int, dict]:  # type: ignore[type-arg]
        answer = internal.post("/internal/v1/tenant_token", json={"cookie": cookie, "tenant": wanted})
        return answer.status_code, answer.json()

    status, body = ask(browser.token)
    assert status == 200
    assert body["expires_in"] == 300
    claims = world.state.tokens.verify(body["token"], audience=tenant, kinds=frozenset({"tenant"}))
    assert (claims.subject, claims.session_id) == (settled.admin.id, browser.session_id)
    assert ask(settled.admin.token)[0] == ask("x")[0] == ask("")[0] == ask("ü")[0] == 401
    assert ask(browser.token, str(uuid.uuid4()))[0] == 404
    assert ask(world.again(settled.stranger, "browser").token)[0] == 404
    world.made("POST", "/auth/logout", browser)
    assert ask(browser.token)[0] == 401
    # The same path as asked for: the tenant was made a moment ago, the keeper will tell of it.
    for names in (("Acme", "STAGING"), ("acme", "staging")):
        found = internal.get("/internal/v1/redirect", params={"organization": names[0], "tenant": names[1]})
        assert found.json() == {"location": "/t/acme/staging"}
    for names in (("Acme", "none"), ("x", "y")):
        answer = internal.get("/internal/v1/redirect", params={"organization": names[0], "tenant": names[1]})
        assert answer.status_code == 404


def test_the_public_keys_verify_tokens(world: World) -> None:
    from joserfc import jwt  # noqa: PLC0415 - only here.
    from joserfc.jwk import KeySet  # noqa: PLC0415

    ada = world.user("ada")
    keys = KeySet.import_key_set(world.made("GET", "/.well-known/jwks.json"))
    with pytest.warns(match="EdDSA is deprecated"):
        token = jwt.decode(ada.token, keys, algorithms=["EdDSA"])
    assert token.claims["iss"] == "http://nagaya.test"
    assert token.claims["aud"] == "nagaya"
    assert token.claims["typ"] == "session"
    assert token.claims["sub"] == str(ada.id)
    assert token.claims["sid"] == str(ada.session_id)
    assert "d" not in world.made("GET", "/.well-known/jwks.json")["keys"][0]
    assert abs(token.claims["iat"] - time.time()) < 300


def test_the_server_tells_about_itself(world: World) -> None:
    info = world.made("GET", "/server/info")
    assert info["api_url"] == "http://nagaya.test/api/v1"
    assert info["instance_id"] is None
    (world.state.settings.data_dir / "instance.json").write_text('{"format": 1, "id": "abc"}')
    assert world.made("GET", "/server/info")["instance_id"] == "abc"
    assert world.made("GET", "/health") == world.made("GET", "/ready") == {"status": "ok"}
