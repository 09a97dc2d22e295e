"""Policy documents: what is read, what is refused and why, and deltas."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from nagaya_policy import Policy, PolicyBaseError, PolicyError, PolicySchemaError, Resource, apply_delta

PROJECT = "aaaaaaaa-0000-4000-8000-000000000001"
STACK = "bbbbbbbb-0000-4000-8000-000000000001"
ADA = "cccccccc-0000-4000-8000-000000000001"
BOB = "cccccccc-0000-4000-8000-000000000002"


def document() -> dict[str, Any]:
    """The document of docs/reference/internals.md, with a custom role and a project grant."""
    return {
        "schema": 1,
        "tenant": "t-1",
        "organization": "o-1",
        "version": 17,
        "issuer": "http://127.0.0.1:8440",
        "issued_at": 1790000000,
        "jwks": {"keys": [{"kty": "OKP", "kid": "k"}]},
        "principals": {
            ADA: {
                "kind": "user",
                "username": "ada",
                "email": "ada@example.com",
                "name": "Ada",
                "superuser": False,
                "valid_after": 1789990000,
                "grants": [
                    {"role": "tenant_developer", "via": "direct", "project": None, "expires": None},
                    {"role": "reader", "via": "team vision", "project": PROJECT, "expires": 1790009999.5},
                ],
                "shares": {f"stack/{STACK}": ["read", "update"], f"{PROJECT}:model/{STACK}": []},
            }
        },
        "roles": {"reader": {"level": "project", "permissions": ["pipeline:read", "stack:read", "hologram:read"]}},
        "revoked_sessions": {"s-1": 1790003600},
    }


def test_everything_in_a_document_is_available() -> None:
    policy = Policy.from_document(document())
    assert (policy.version, policy.tenant, policy.organization) == (17, "t-1", "o-1")
    assert (policy.issuer, policy.issued_at) == ("http://127.0.0.1:8440", 1790000000)
    assert policy.jwks["keys"][0]["kid"] == "k"
    assert list(policy.principals) == [ADA]
    ada = policy.principal(ADA)
    assert ada is not None
    assert (ada.kind, ada.username, ada.email, ada.name, ada.superuser) == (
        "user",
        "ada",
        "ada@example.com",
        "Ada",
        False,
    )
    assert [each.title for each in ada.grants] == ["role Developer", "role reader via team vision"]
    assert ada.shares == {Resource("stack", STACK): {"read", "update"}}
    assert ada.shared_projects == frozenset()
    assert policy.custom_roles["reader"].permissions == {"pipeline:read"}
    assert policy.principal(BOB) is None


def test_optional_keys_may_be_missing() -> None:
    policy = Policy.from_document(
        {"schema": 1, "tenant": "t", "version": 0, "principals": {ADA: {"username": "ada"}}, "novelty": 1}
    )
    ada = policy.principal(ADA)
    assert ada is not None
    assert (ada.kind, ada.name, ada.email, ada.valid_after, ada.grants, ada.shares) == ("user", "ada", None, 0, (), {})
    assert policy.is_member(ADA, 0)
    assert policy.organization is None
    assert policy.jwks == {}


def test_equal_grants_of_different_members_are_one_object() -> None:
    source = document()
    source["principals"][BOB] = {**copy.deepcopy(source["principals"][ADA]), "username": "bob"}
    policy = Policy.from_document(source)
    assert policy.principals[ADA].grants[0] is policy.principals[BOB].grants[0]


def test_a_share_in_the_form_of_old_servers_is_found() -> None:
    source = document()
    source["principals"][ADA]["shares"] = {f"{PROJECT}@server:pipeline/{STACK}": ["delete"]}
    policy = Policy.from_document(source)
    assert policy.check(ADA, "delete", f"{BOB}@server:pipeline/{STACK}", now=0).allowed
    assert not policy.check(ADA, "delete", f"{PROJECT}:pipeline/{STACK}", now=0).allowed


@pytest.mark.parametrize("schema", [None, 0, 2, "1", True])
def test_another_schema_is_refused(schema: object) -> None:
    with pytest.raises(PolicySchemaError, match="this version reads schema 1"):
        Policy.from_document({**document(), "schema": schema})


GRANT = ("principals", ADA, "grants", 0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("tenant",), None, "The policy: tenant must be a text, not None"),
        (("tenant",), "", "The policy: tenant must not be empty"),
        (("version",), "17", "version must be a whole number"),
        (("version",), True, "version must be a whole number"),
        (("issued_at",), float("nan"), "issued_at must be a number, not nan"),
        (("issuer",), 5, "issuer must be a text or null"),
        (("jwks",), [], "The policy: jwks must be an object, not list"),
        (("principals",), [], "The policy: principals must be an object, not list"),
        (("principals", ADA), None, f"Principal {ADA} must be an object, not NoneType"),
        (("principals", ADA, "kind"), "robot", f"Principal {ADA}: kind must be user or service_account"),
        (("principals", ADA, "username"), "", "username must not be empty"),
        (("principals", ADA, "superuser"), 1, "superuser must be true or false"),
        (("principals", ADA, "valid_after"), "now", "valid_after must be a number"),
        (("principals", ADA, "valid_after"), True, "valid_after must be a number"),
        (("principals", ADA, "grants"), {}, "grants must be a list"),
        (GRANT, "tenant_admin", "grant must be an object, not str"),
        ((*GRANT, "role"), 7, "role must be a text"),
        ((*GRANT, "expires"), "soon", "expires must be a time in seconds or null"),
        ((*GRANT, "expires"), float("inf"), "expires must be a time in seconds or null"),
        ((*GRANT, "project"), "default", "project must be a UUID or null"),
        ((*GRANT, "project"), PROJECT, "tenant_developer is a role of level tenant, it needs no project"),
        ((*GRANT, "role"), "project_admin", "project_admin is a role of level project, it needs a project"),
        ((*GRANT, "role"), "organization_admin", "is a role of level organization, it needs an organization"),
        (("principals", ADA, "shares"), {"stack": ["read"]}, "names no single resource"),
        (("principals", ADA, "shares"), {"stack/x": ["read"]}, f"Principal {ADA}: shares: 'stack/x' is not a resource"),
        (("principals", ADA, "shares"), {f"stack/{STACK}": "read"}, "must be a list"),
        (("principals", ADA, "shares"), {f"stack/{STACK}": [1]}, "the actions on .* must be texts"),
        (("principals", ADA, "shares"), {f"stack/{STACK}": [""]}, "the actions on .* must be texts"),
        (("roles",), {"x": {"level": "organization"}}, "Role x: level must be tenant or project"),
        (("roles",), {"x": {"level": "galaxy"}}, "Role x: level must be tenant or project"),
        (("roles",), {"tenant_admin": {"level": "tenant"}}, "the name of a predefined role"),
        (("roles",), {"x": {"level": "tenant", "permissions": ["stack"]}}, "'stack' is not a permission"),
        (("roles",), {"x": {"level": "tenant", "permissions": [":"]}}, "':' is not a permission"),
        (("roles",), {"x": {"level": "tenant", "permissions": [3]}}, "3 is not a permission"),
        (("revoked_sessions",), {"s": "x"}, "The policy: revoked_sessions: s must be a number"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(path: tuple[Any, ...], value: object, message: str) -> None:
    source: Any = document()
    place = source
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(PolicyError, match=message):
        Policy.from_document(source)


@pytest.mark.parametrize("source", [None, [], "policy", 1])
def test_a_document_is_an_object(source: Any) -> None:
    with pytest.raises(PolicyError, match="The policy must be an object"):
        Policy.from_document(source)


def test_a_role_of_a_newer_platform_keeps_membership_and_grants_nothing() -> None:
    source = document()
    source["principals"][ADA]["grants"] = [{"role": "tenant_astronaut"}]
    policy = Policy.from_document(source)
    assert policy.is_member(ADA, 0)
    assert policy.check(ADA, "read", "project", now=0).reason == (
        "denied: no role of yours grants project:read (your roles: tenant_astronaut)"
    )


def test_a_delta_replaces_adds_and_removes() -> None:
    before = document()
    before["principals"][BOB] = {"username": "bob"}
    untouched = copy.deepcopy(before)
    carol = "cccccccc-0000-4000-8000-000000000003"
    delta = {
        "type": "delta",
        "base": 17,
        "version": 19,
        "principals": {ADA: {"username": "ada", "grants": []}, BOB: None, carol: {"username": "carol"}},
        "revoked_sessions": {"s-1": None, "s-2": 5},
        "roles": {},
        "issued_at": 1790000500,
    }
    after = apply_delta(before, delta)
    assert before == untouched
    assert after["version"] == 19
    assert after["principals"] == {ADA: {"username": "ada", "grants": []}, carol: {"username": "carol"}}
    assert after["revoked_sessions"] == {"s-2": 5}
    assert (after["roles"], after["issued_at"], after["issuer"]) == ({}, 1790000500, before["issuer"])
    assert Policy.from_document(after).version == 19


def test_a_delta_may_be_empty() -> None:
    after = apply_delta(document(), {"base": 17, "version": 18})
    assert after == {**document(), "version": 18}


def test_a_delta_from_elsewhere_asks_for_the_whole_policy() -> None:
    with pytest.raises(PolicyBaseError, match="starts at version 16, but the policy here is version 17"):
        apply_delta(document(), {"base": 16, "version": 18})


@pytest.mark.parametrize(
    ("delta", "message"),
    [
        ({"base": 17, "version": 17}, "must lead forward"),
        ({"base": 17}, "The delta: version must be a whole number"),
        ({"base": 17, "version": 18, "principals": []}, "The delta: principals must be an object"),
        ([], "The delta must be an object"),
    ],
)
def test_a_malformed_delta_is_refused(delta: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        apply_delta(document(), delta)
