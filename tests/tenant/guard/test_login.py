"""Login and the tokens that come of it: what is accepted, what is refused, what ends them."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import jwt
import pytest
from cloud import Cloud, grant
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

if TYPE_CHECKING:
    from world import Answer, World

FORM = {"content-type": "application/x-www-form-urlencoded"}
NOT_AUTHORIZED = {"detail": ["AuthorizationException", "Not authorized to access this server."]}


def exchange(tenant: World, token: str | None, body: bytes = b"grant_type=zenml-external", **headers: str) -> Answer:
    return tenant.request("POST", "/api/v1/login", token, body=body, headers={**FORM, **headers})


def policies_asked_for(tenant: World) -> int:
    return sum(target.startswith("/channel/v1/policy") for target, _ in tenant.api.requests)


def current(tenant: World, token: str | None) -> int:
    return tenant.request("GET", "/api/v1/current-user", token).status


@pytest.mark.parametrize("kind", ["session", "device"])
def test_a_member_logs_in_with_a_token_of_the_platform(tenant: World, kind: str) -> None:
    answer = exchange(tenant, tenant.cloud.token(tenant.members["developer"], kind), **{"user-agent": "zenml/0.98.0"})
    assert answer.status == 200
    body = answer.json()
    assert (body["token_type"], body["expires_in"], body["csrf_token"]) == ("bearer", 3600, None)
    assert "set-cookie" not in answer.headers
    claims = jwt.decode(body["access_token"], options={"verify_signature": False})
    assert claims["iss"] == claims["aud"] == tenant.cloud.tenant
    assert claims["nagaya"] == {
        "sub": tenant.members["developer"],
        "sid": f"session-of-{tenant.members['developer']}",
    }
    me = tenant.request("GET", "/api/v1/current-user", body["access_token"]).json()
    assert (me["name"], me["body"]["is_admin"]) == ("developer", False)


def test_a_form_without_a_grant_means_the_external_one(tenant: World) -> None:
    assert exchange(tenant, tenant.cloud.token(tenant.members["viewer"]), b"").status == 200


def test_without_a_token_the_answer_says_where_to_log_in(tenant: World) -> None:
    answer = exchange(tenant, None)
    assert answer.status == 200
    assert answer.json() == {"authorization_url": "http://127.0.0.1:8440/o/acme/api/auth/login"}


def test_other_schemes_are_refused_as_zenml_does(tenant: World) -> None:
    answer = exchange(tenant, None, authorization="Basic YTpi")
    assert answer.status == 401
    assert answer.json() == {"detail": ["CredentialsNotValid", "Invalid request: invalid authorization header."]}


@pytest.mark.parametrize(
    ("body", "status", "detail"),
    [
        (b"grant_type=password&username=a&password=b", 400, "Unsupported grant type: password."),
        (b"username=a&password=b", 400, "Unsupported grant type: password."),
        (b"grant_type=something", 400, "Unsupported grant type: something"),
        (
            b"grant_type=urn:ietf:params:oauth:grant-type:device_code",
            403,
            "Device authorization is not supported.",
        ),
        (b"grant_type=zenml-api-key", 400, "API key is required."),
    ],
)
def test_other_grants_are_refused_as_zenml_does(tenant: World, body: bytes, status: int, detail: str) -> None:
    answer = exchange(tenant, None, body)
    assert (answer.status, answer.json()) == (status, {"detail": detail})


def test_api_keys_are_sent_to_the_control_plane(tenant: World) -> None:
    answer = exchange(tenant, None, b"grant_type=zenml-api-key&password=ZENPROKEY_abc")
    assert answer.status == 401
    name, sentence = answer.json()["detail"]
    assert name == "CredentialsNotValid"
    assert "control plane" in sentence
    for key in ("ZENPROKEY_abc", "ZENKEY_abc"):
        assert exchange(tenant, key).json() == NOT_AUTHORIZED
        refused = tenant.request("GET", "/api/v1/projects", key)
        assert refused.status == 401
        assert key not in refused.body.decode()


def test_forms_that_are_none_are_refused(tenant: World) -> None:
    token = tenant.cloud.token(tenant.members["viewer"])
    assert tenant.request("POST", "/api/v1/login", token, json={"grant_type": "zenml-external"}).status == 422
    assert exchange(tenant, token, b"a=" + b"b" * 70_000).status == 413


def forge(tenant: World, attack: str, victim: str) -> str:
    """A token for somebody that must not be accepted."""
    cloud = tenant.cloud
    payload = jwt.decode(cloud.token(victim), options={"verify_signature": False})
    header = {"kid": cloud.kid}
    if attack == "none":
        parts = [json.dumps({"alg": "none", "typ": "JWT", **header}), json.dumps(payload)]
        return ".".join(base64.urlsafe_b64encode(each.encode()).rstrip(b"=").decode() for each in parts) + "."
    if attack == "hs256 with the public key":
        public = base64.urlsafe_b64decode(cloud.jwks()["keys"][0]["x"] + "==")
        return jwt.encode(payload, public, algorithm="HS256", headers=header)
    if attack == "another key":
        return jwt.encode(payload, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers=header)
    if attack == "unknown key id":
        return jwt.encode(payload, cloud.key, algorithm="EdDSA", headers={"kid": "key-2"})
    if attack == "key in the header":
        key = Ed25519PrivateKey.generate()
        x = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(x).rstrip(b"=").decode()}
        return jwt.encode(payload, key, algorithm="EdDSA", headers={**header, "jwk": jwk})
    claims: dict[str, dict[str, Any]] = {
        "expired": {"exp": int(time.time()) - 60},
        "not yet issued": {"iat": int(time.time()) + 600},
        "foreign issuer": {"iss": "https://elsewhere.example"},
        "foreign audience": {"aud": "nagaya-server"},
        "many audiences": {"aud": ["nagaya", cloud.tenant]},
        "without expiry": {"exp": None},
        "without session": {"sid": None},
        "for servers": {"typ": "server", "aud": "nagaya"},
        "for a tenant": {"typ": "tenant", "aud": cloud.tenant},
        "without type": {"typ": None},
        "tenant type for everybody": {"typ": "tenant", "aud": "nagaya"},
        "somebody unknown": {"sub": str(uuid4())},
    }
    return cloud.token(victim, **claims[attack])


@pytest.mark.parametrize(
    "attack",
    [
        "none",
        "hs256 with the public key",
        "another key",
        "unknown key id",
        "key in the header",
        "expired",
        "not yet issued",
        "foreign issuer",
        "foreign audience",
        "many audiences",
        "without expiry",
        "without session",
        "for servers",
        "for a tenant",
        "without type",
        "tenant type for everybody",
        "somebody unknown",
    ],
)
def test_forged_tokens_are_not_accepted(tenant: World, attack: str) -> None:
    before = policies_asked_for(tenant)
    for victim in (tenant.members["admin"], str(uuid4())):
        token = forge(tenant, attack, victim)
        assert exchange(tenant, token).json() == NOT_AUTHORIZED
        if attack != "for a tenant":
            assert current(tenant, token) == 401
    # Only for strangers whom the platform vouches for is it asked anything.
    assert (policies_asked_for(tenant) > before) == (attack == "somebody unknown")


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "é", "." * 9000, "eyJhbGciOiJFZERTQSJ9..", "eyJhbGciOjF9.e30.x"])
def test_noise_is_not_accepted(tenant: World, token: str) -> None:
    answer = tenant.request("GET", "/api/v1/current-user", headers={"authorization": f"Bearer {token}"})
    assert answer.status == 401
    assert exchange(tenant, None, authorization=f"Bearer {token}").status == 401


def test_a_tenant_token_works_directly_and_only_for_its_tenant(tenant: World) -> None:
    mine = tenant.cloud.token(tenant.members["viewer"], "tenant")
    assert current(tenant, mine) == 200
    assert current(tenant, tenant.cloud.token(tenant.members["viewer"], "tenant", aud=str(uuid4()))) == 401
    assert current(tenant, tenant.cloud.token(tenant.members["viewer"], "session")) == 401
    other = Cloud()
    assert current(tenant, other.token(other.member("mallory"), "tenant", aud=tenant.cloud.tenant)) == 401


def test_a_rotated_key_ends_tokens_of_the_old_one(tenant: World) -> None:
    token = tenant.cloud.token(tenant.members["viewer"], "tenant")
    assert current(tenant, token) == 200
    old_key, old_kid = tenant.cloud.key, tenant.cloud.kid
    tenant.cloud.key, tenant.cloud.kid = Ed25519PrivateKey.generate(), "key-9"
    try:
        tenant.apply()
        assert current(tenant, token) == 401
        assert current(tenant, tenant.cloud.token(tenant.members["viewer"], "tenant")) == 200
    finally:
        tenant.cloud.key, tenant.cloud.kid = old_key, old_kid
        tenant.apply()


def test_removal_ends_tokens_that_were_already_issued(tenant: World) -> None:
    token = tenant.login("developer")
    direct = tenant.cloud.token(tenant.members["developer"], "tenant")
    assert (current(tenant, token), current(tenant, direct)) == (200, 200)
    del tenant.cloud.principals[tenant.members["developer"]]
    tenant.apply()
    answer = tenant.request("GET", "/api/v1/projects", token)
    assert answer.status == 401
    assert answer.json()["detail"][0] == "CredentialsNotValid"
    assert current(tenant, direct) == 401
    assert exchange(tenant, tenant.cloud.token(tenant.members["developer"])).json() == NOT_AUTHORIZED


def test_a_delta_removes_a_member(tenant: World) -> None:
    token = tenant.login("developer")
    version = tenant.parts.policy.version
    tenant.cloud.version += 1
    gone = {tenant.members["developer"]: None}
    delta = {"type": "delta", "base": version, "version": version + 1, "principals": gone, "revoked_sessions": {}}
    assert tenant.parts.policy.apply_delta(delta)
    assert current(tenant, token) == 401


def test_ending_a_session_ends_its_tokens_only(tenant: World) -> None:
    first, second = tenant.login("viewer", sid="laptop"), tenant.login("viewer", sid="browser")
    generic = tenant.request("GET", "/api/v1/api_token", first)
    assert generic.status == 200
    tenant.cloud.revoked["laptop"] = time.time() + 3600
    tenant.apply()
    assert (current(tenant, first), current(tenant, second), current(tenant, generic.json())) == (401, 200, 401)
    assert exchange(tenant, tenant.cloud.token(tenant.members["viewer"], sid="laptop")).json() == NOT_AUTHORIZED


def test_the_token_in_a_deployment_script_ends_with_the_session(tenant: World) -> None:
    query = {"provider": "aws", "stack_name": "made"}
    answer = tenant.request("GET", "/api/v1/stack-deployment/config", tenant.login("admin", sid="laptop"), query=query)
    assert answer.status == 200
    found = re.search(r"param_ZenMLServerAPIToken=([^&]+)", answer.json()["deployment_url"])
    assert found
    assert current(tenant, found[1]) == 200
    tenant.cloud.revoked["laptop"] = time.time() + 3600
    tenant.apply()
    assert current(tenant, found[1]) == 401


def test_revoking_all_tokens_of_somebody_ends_those_issued_before(tenant: World) -> None:
    token = tenant.login("viewer")
    tenant.cloud.principals[tenant.members["viewer"]]["valid_after"] = int(time.time()) + 1
    tenant.apply()
    assert current(tenant, token) == 401
    now = int(time.time()) + 2
    assert exchange(tenant, tenant.cloud.token(tenant.members["viewer"], iat=now)).status == 200


def test_a_reused_name_takes_nothing_over(tenant: World) -> None:
    first = tenant.cloud.member("bob", grant("tenant_developer"))
    tenant.apply()
    old = tenant.login(first)
    made = tenant.request("POST", "/api/v1/secrets", old, json={"name": f"of-bob-{uuid4().hex}", "values": {"k": "v"}})
    assert made.status == 200
    del tenant.cloud.principals[first]
    second = tenant.cloud.member("bob", grant("tenant_contributor"))
    tenant.apply()
    new = tenant.login(second)
    accounts = tenant.sql("SELECT name, external_user_id FROM user WHERE name LIKE 'bob%'")
    assert sorted(name[:3] for name, _ in accounts) == ["bob", "bob"]
    assert ("bob", UUID(second).hex) in accounts
    assert tenant.request("GET", f"/api/v1/secrets/{made.json()['id']}", new).status == 403
    assert current(tenant, old) == 401


def test_a_changed_profile_is_written_and_service_accounts_are_their_own_kind(tenant: World) -> None:
    robot = tenant.cloud.member("robot", grant("tenant_viewer"), kind="service_account")
    tenant.apply()
    token = tenant.login(robot)
    assert tenant.request("GET", "/api/v1/current-user", token).json()["body"]["is_service_account"] is True
    assert tenant.request("GET", "/api/v1/projects", token).status == 200
    tenant.cloud.principals[robot]["username"] = "robot-two"
    person = tenant.cloud.member("carol", grant("tenant_viewer"), superuser=True)
    tenant.apply()
    tenant.login(robot)
    tenant.login(person)
    tenant.cloud.principals[person].update(superuser=False, name="Carol C.")
    tenant.apply()
    tenant.login(person)
    names = dict(tenant.sql("SELECT external_user_id, name || ':' || full_name FROM user"))
    assert names[UUID(robot).hex].startswith("robot-two:")
    assert names[UUID(person).hex] == "carol:Carol C."
    again = tenant.cloud.member("robot-two", grant("tenant_viewer"), kind="service_account")
    del tenant.cloud.principals[robot]
    tenant.apply()
    tenant.login(again)
    assert len(tenant.sql("SELECT 1 FROM user WHERE name LIKE 'robot-two%'")) == 2


def test_a_token_of_an_account_that_changed_hands_is_refused(tenant: World) -> None:
    from nagaya_tenant.guard_tokens import issue

    account = tenant.parts.principals.ensure(tenant.parts.policy.current().principal(tenant.members["viewer"]))
    assert current(tenant, issue(account, tenant.members["admin"], None, 60)) == 401
    assert current(tenant, issue(account, tenant.members["viewer"], None, 60)) == 200
    assert current(tenant, issue(account, tenant.members["viewer"], None, -60)) == 401


def test_generic_api_tokens(tenant: World) -> None:
    token = tenant.login("viewer")
    answer = tenant.request("GET", "/api/v1/api_token", token, query={"expires_in": "60"})
    assert current(tenant, answer.json()) == 200
    for query, status in (
        ({"expires_in": "604801"}, 400),
        ({"expires_in": "-1"}, 422),
        ({"pipeline_run_id": str(uuid4())}, 400),
    ):
        assert tenant.request("GET", "/api/v1/api_token", token, query=query).status == status


def test_while_the_channel_is_silent_too_long_nothing_that_needs_the_policy_works(tenant: World) -> None:
    token = tenant.login("viewer")
    policy = tenant.parts.policy
    policy.last_sign_of_life = time.time() - policy._max_age - 1
    answer = tenant.request("GET", "/api/v1/projects", token)
    assert answer.status == 503
    assert "control plane" in answer.json()["detail"][1]
    assert answer.headers["retry-after"]
    assert exchange(tenant, tenant.cloud.token(tenant.members["viewer"])).status == 503
    assert tenant.request("GET", "/health").status == 200
    assert tenant.request("GET", "/api/v1/info").status == 200
    policy.alive()
    assert tenant.request("GET", "/api/v1/projects", token).status == 200
