"""Members of a moment ago, whom the policy here does not know yet, and strangers who pretend to be some."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from cloud import grant
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from nagaya_tenant import admission
from nagaya_tenant.errors import CredentialsRefused

if TYPE_CHECKING:
    from world import Answer, World

FORM = {"content-type": "application/x-www-form-urlencoded"}
NOT_AUTHORIZED = {"detail": ["AuthorizationException", "Not authorized to access this server."]}


def sign_in(tenant: World, principal: str, kind: str = "session", **claims: Any) -> Answer:
    token = tenant.cloud.token(principal, kind, **claims)
    return tenant.request("POST", "/api/v1/login", token, body=b"grant_type=zenml-external", headers=FORM)


def newcomer(tenant: World, **fields: Any) -> str:
    """Somebody whom only the control plane knows as a member."""
    principal = tenant.cloud.member(f"new-{uuid4().hex[:8]}", grant("tenant_viewer"), **fields)
    tenant.api.document = tenant.cloud.document()
    return principal


def asked(tenant: World) -> int:
    """How often the control plane was asked for a policy."""
    return sum(target.startswith("/channel/v1/policy") for target, _ in tenant.api.requests)


@pytest.mark.parametrize("kind", ["session", "device"])
@pytest.mark.parametrize("account", ["user", "service_account"])
def test_a_member_of_a_moment_ago_signs_in(tenant: World, kind: str, account: str) -> None:
    principal = newcomer(tenant, kind=account)
    before, version = asked(tenant), tenant.parts.policy.version
    answer = sign_in(tenant, principal, kind)
    assert answer.status == 200
    targets = [target for target, _ in tenant.api.requests]
    assert targets.count(f"/channel/v1/policy?after={version}") == 1
    assert tenant.request("GET", "/api/v1/projects", answer.json()["access_token"]).status == 200
    assert sign_in(tenant, tenant.members["viewer"]).status == 200
    assert asked(tenant) == before + 1


def test_a_browser_of_a_member_of_a_moment_ago_is_served_with_all_that_it_asks_for(tenant: World) -> None:
    token = tenant.cloud.token(newcomer(tenant), "tenant")
    tenant.api.behaviour = "slow"
    before = asked(tenant)
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(tenant.request, "GET", "/api/v1/current-user", token) for _ in range(6)]
        assert [each.result().status for each in answers] == [200] * 6
    assert asked(tenant) == before + 1


def test_roles_that_were_renewed_a_moment_ago_count(tenant: World) -> None:
    expired = grant("tenant_viewer") | {"expires": time.time() - 60}
    principal = tenant.cloud.member("lapsed", expired)
    tenant.apply()
    assert sign_in(tenant, principal).json() == NOT_AUTHORIZED
    tenant.cloud.principals[principal]["grants"] = [grant("tenant_viewer")]
    tenant.api.document = tenant.cloud.document()
    assert sign_in(tenant, principal).status == 200


def test_somebody_who_was_refused_may_become_a_member_at_once(tenant: World) -> None:
    stranger = str(uuid4())
    assert sign_in(tenant, stranger).json() == NOT_AUTHORIZED
    newcomer(tenant, id=stranger)
    assert sign_in(tenant, stranger).status == 200


def test_a_stranger_cannot_keep_the_control_plane_busy(tenant: World) -> None:
    stranger, before = str(uuid4()), asked(tenant)
    started = time.monotonic()
    answers = [sign_in(tenant, stranger) for _ in range(20)]
    assert {each.status for each in answers} == {401}
    periods = 1 + int((time.monotonic() - started) / admission.PERIOD_SECONDS)
    assert 1 <= asked(tenant) - before <= periods * admission.MOST_ASKED_BY_ONE


def test_many_strangers_cannot_either(tenant: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "PERIOD_SECONDS", 1.0)
    monkeypatch.setattr(admission, "MOST_ASKED", 4)
    before = asked(tenant)
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: sign_in(tenant, str(uuid4())), range(24)))
    assert {each.status for each in answers} == {401}
    assert 1 <= asked(tenant) - before <= 4 * (1 + int(time.monotonic() - started))
    # When they have gone, a member of a moment ago is heard again.
    late = newcomer(tenant)
    deadline = time.monotonic() + 10
    while (status := sign_in(tenant, late).status) != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert status == 200


@pytest.mark.parametrize("behaviour", ["silent", "refuses", "lying"])
def test_without_an_answer_strangers_are_refused_in_time(
    tenant: World, behaviour: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "ASK_SECONDS", 0.5)
    principal, member = newcomer(tenant), tenant.members["viewer"]
    tenant.api.behaviour = behaviour
    started = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        stranger = pool.submit(sign_in, tenant, principal)
        assert sign_in(tenant, member).status == 200
        assert stranger.result().json() == NOT_AUTHORIZED
    assert time.monotonic() - started < 3
    tenant.api.behaviour = "answers"
    assert sign_in(tenant, principal).status == 200


def test_without_a_control_plane_strangers_are_refused_at_once(tenant: World) -> None:
    principal = newcomer(tenant)
    tenant.run(tenant.api.stop())
    try:
        started = time.monotonic()
        assert sign_in(tenant, principal).json() == NOT_AUTHORIZED
        assert time.monotonic() - started < 1
        assert sign_in(tenant, tenant.members["viewer"]).status == 200
    finally:
        tenant.run(tenant.api.start())
    assert sign_in(tenant, principal).status == 200


def test_strangers_who_wait_are_few(tenant: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MOST_WAITING", 1)
    tenant.api.behaviour = "slow"
    first = newcomer(tenant)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sign_in, tenant, first)
        tenant.run(tenant.api.until(lambda: tenant.app._guard._admission._waiting))
        started = time.monotonic()
        assert sign_in(tenant, str(uuid4())).json() == NOT_AUTHORIZED
        assert time.monotonic() - started < 0.9
        assert waiting.result().status == 200


def test_a_removed_member_stays_outside(tenant: World) -> None:
    gone = tenant.members["developer"]
    assert sign_in(tenant, gone).status == 200
    del tenant.cloud.principals[gone]
    tenant.apply()
    for _ in range(3):
        assert sign_in(tenant, gone).json() == NOT_AUTHORIZED
        assert tenant.request("GET", "/api/v1/current-user", tenant.cloud.token(gone, "tenant")).status == 401
    newcomer(tenant)
    assert sign_in(tenant, gone).json() == NOT_AUTHORIZED


def test_what_the_newer_policy_ends_does_not_get_in_with_it(tenant: World) -> None:
    revoked = newcomer(tenant, valid_after=int(time.time()) + 60)
    assert sign_in(tenant, revoked).json() == NOT_AUTHORIZED
    tenant.cloud.revoked["laptop"] = time.time() + 3600
    signed_out = newcomer(tenant)
    assert sign_in(tenant, signed_out, sid="laptop").json() == NOT_AUTHORIZED
    assert sign_in(tenant, signed_out).status == 200


def test_a_token_whose_key_the_newer_policy_has_no_more_is_refused(tenant: World) -> None:
    principal = str(uuid4())
    token = tenant.cloud.token(principal, "tenant")
    old_key, old_kid = tenant.cloud.key, tenant.cloud.kid
    tenant.cloud.key, tenant.cloud.kid = Ed25519PrivateKey.generate(), "key-8"
    try:
        newcomer(tenant, id=principal)
        assert tenant.request("GET", "/api/v1/current-user", token).status == 401
        assert tenant.parts.policy.is_member(principal)
    finally:
        tenant.cloud.key, tenant.cloud.kid = old_key, old_kid
        tenant.apply()


def test_a_fault_of_ours_is_a_refusal_too(tenant: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(tenant.parts.channel, "refresh", broken)
    with pytest.raises(CredentialsRefused):
        tenant.run(tenant.app._guard._admission.admit(tenant.cloud.token(newcomer(tenant)), frozenset({"session"})))
