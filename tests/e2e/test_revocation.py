"""A removed member is out within a second, with tokens that were issued before too."""

import time
import uuid

from harness.platform import Platform

PASSWORD = "a long and quiet evening"


def new_member(platform: Platform, admin: str, role: str = "tenant_developer") -> tuple[str, str]:
    """Creates a user who is a member of the organization and the tenant; returns id and email."""
    caller = platform.api(admin)
    name = f"bob-{uuid.uuid4().hex[:8]}"
    email = f"{name}@example.com"
    user = caller.expect("POST", "/users", 201, body={"username": name, "email": email, "password": PASSWORD}).json()
    caller.expect("POST", "/organizations/acme/members", 201, body={"user": user["id"]})
    tenant = caller.expect("GET", "/tenants/acme%2Fstaging").json()
    caller.expect("POST", f"/tenants/{tenant['id']}/members", 201, body={"user": user["id"], "roles": [role]})
    caller.close()
    return str(user["id"]), email


def test_removal_ends_issued_tokens_within_a_second(platform: Platform, admin: str) -> None:
    user, email = new_member(platform, admin)
    token = platform.tenant_token("staging", platform.sign_in(email, PASSWORD))
    member = platform.tenant_caller("staging", token)
    member.expect("GET", "/api/v1/stacks")
    caller = platform.api(admin)
    caller.expect("DELETE", f"/organizations/acme/members/{user}", 204)
    removed = time.monotonic()
    while (status := member.call("GET", "/api/v1/stacks").status) == 200:
        assert time.monotonic() - removed < 1, "still let in after a second"
    assert status == 401
    caller.close()
    member.close()


def test_removal_while_asleep_holds_after_the_wake(platform: Platform, admin: str) -> None:
    user, email = new_member(platform, admin)
    token = platform.tenant_token("staging", platform.sign_in(email, PASSWORD))
    state = next(state for state in platform.keeper("list") if state["tenant"] == "staging")
    platform.keeper("sleep", id=state["id"])
    caller = platform.api(admin)
    caller.expect("DELETE", f"/organizations/acme/members/{user}", 204)
    caller.close()
    member = platform.tenant_caller("staging", token)
    assert member.call("GET", "/api/v1/stacks").status == 401
    member.close()


def test_a_viewer_reads_and_does_not_write(platform: Platform, admin: str) -> None:
    _, email = new_member(platform, admin, role="tenant_viewer")
    member = platform.tenant_caller("staging", platform.tenant_token("staging", platform.sign_in(email, PASSWORD)))
    member.expect("GET", "/api/v1/stacks")
    denied = member.call("POST", "/api/v1/tags", body={"name": "mine", "color": "red"})
    assert denied.status == 403
    assert "tag:create" in denied.body.decode()
    member.close()


def test_a_strangers_token_sees_nothing(platform: Platform, admin: str) -> None:
    caller = platform.api(admin)
    name = f"eve-{uuid.uuid4().hex[:8]}"
    email = f"{name}@example.com"
    caller.expect("POST", "/users", 201, body={"username": name, "email": email, "password": PASSWORD})
    stranger = platform.api(platform.sign_in(email, PASSWORD))
    assert stranger.expect("GET", "/tenants").json() == []
    assert stranger.call("GET", "/tenants/acme%2Fstaging").status == 404
    assert stranger.call("GET", "/organizations/acme").status == 404
    tenant = platform.tenant_caller("staging")
    login = tenant.call(
        "POST", "/api/v1/login", form={"grant_type": "zenml-external"}, token=platform.sign_in(email, PASSWORD)
    )
    assert login.status == 401
    for connection in (caller, stranger, tenant):
        connection.close()
