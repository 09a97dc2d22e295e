"""Invitations: what they carry, who may make them, and how they are accepted, renewed, withdrawn and guessed."""

import datetime as dt
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.teams.test_teams import give, join, member, policy, status, team
from tests.api.world import PASSWORD, Person, Settled

HOME = "/organizations/acme/invitations"


def invite(settled: Settled, by: Person | None = None, email: str = "Grace@Example.com", **more: Any) -> dict[str, Any]:
    body = {"email": email, **more}
    made: dict[str, Any] = settled.world.made("POST", HOME, by or settled.admin, json=body)
    return made


def token(invitation: dict[str, Any]) -> str:
    return str(invitation["link"]).partition("token=")[2]


def accept(settled: Settled, secret: str, by: Person | None = None, **more: Any) -> Any:
    return settled.world.call("POST", "/invitations/accept", by, json={"token": secret, **more})


def everything(settled: Settled) -> dict[str, Any]:
    return {
        "roles": ["Viewer"],
        "tenants": [
            {"tenant": "staging", "roles": ["Editor"]},
            {"tenant": settled.tenant["id"], "roles": ["Viewer"], "project_id": str(uuid.uuid4())},
        ],
        "teams": ["vision"],
    }


def test_a_link_makes_an_account_with_all_that_was_promised(settled: Settled) -> None:
    world, vision = settled.world, team(settled)
    made = invite(settled, **everything(settled))
    assert made["link"].startswith("http://nagaya.test/invitation?token=")
    assert (made["status"], made["invited_by"], made["organization"]["name"]) == ("pending", "Ada", "acme")
    assert [each["role"] for each in made["roles"]] == ["organization_viewer", "tenant_developer", "project_viewer"]
    assert made["teams"] == [{"id": vision["id"], "name": "vision"}]
    assert settled.world.made("GET", f"/teams/{vision['id']}", settled.admin)["member_count"] == 0
    people = world.made("GET", f"/teams/{vision['id']}/members", settled.admin)
    assert [(each["kind"], each["username"]) for each in people] == [("invitation", "Grace@Example.com")]
    assert "Grace@Example.com" not in {
        each["username"] for each in world.made("GET", "/organizations/acme/members", settled.admin)
    }
    answer = accept(settled, token(made), name="Grace", password=PASSWORD)
    assert answer.status_code == 201, answer.text
    assert answer.json()["username"] == "grace"
    signed_in = world.made("POST", "/auth/login", data={"username": "grace@example.com", "password": PASSWORD})
    me = {"Authorization": f"Bearer {signed_in['access_token']}"}
    shown = world.client.get(f"/api/v1/tenants/{settled.tenant['id']}/members?q=grace", headers=me).json()
    assert {each["role"] for each in shown[0]["roles"]} == {"tenant_visitor", "tenant_developer", "project_viewer"}
    assert world.made("GET", f"/teams/{vision['id']}", settled.admin)["member_count"] == 1
    user_id = answer.json()["user_id"]
    assert policy(settled).check(user_id, "create", "stack", now=0).allowed
    assert accept(settled, token(made), password=PASSWORD).status_code == 410
    assert [each["status"] for each in world.made("GET", HOME, settled.admin)] == ["accepted"]
    event, guess = world.events("invitation.accept")
    assert (event.actor_name, event.outcome, event.details["teams"]) == ("grace", "success", ["vision"])
    assert (guess.actor_name, guess.outcome) == ("", "denied")


def test_people_with_an_account_accept_signed_in(settled: Settled) -> None:
    world, grace = settled.world, settled.world.user("grace")
    made = invite(settled)
    assert [each["id"] for each in world.made("GET", "/invitations", grace)] == [made["id"]]
    assert world.made("GET", "/invitations", settled.stranger) == []
    assert accept(settled, token(made), password=PASSWORD).status_code == 401
    assert accept(settled, token(made), settled.stranger).status_code == 403
    place = f"/invitations/{made['id']}"
    for person, found in ((grace, 200), (settled.admin, 200), (settled.stranger, 404), (None, 401)):
        assert status(settled, "GET", place, person) == found
    for person, found in ((settled.stranger, 404), (settled.admin, 404), (None, 401), (grace, 201)):
        assert status(settled, "POST", place, person) == found
    assert status(settled, "POST", place, grace) == 410
    assert [each["name"] for each in world.made("GET", "/organizations", grace)] == ["acme"]
    assert world.made("GET", "/invitations", grace) == []
    other = world.user("joan")
    assert accept(settled, token(invite(settled, email="JOAN@example.com")), other).status_code == 201


def test_who_may_invite_whom_to_what(settled: Settled) -> None:
    world, manager = settled.world, member(settled, "manager", "organization_manager")
    plain = member(settled, "plain")
    vision = team(settled)
    give(settled, vision, "tenant_viewer", tenant_id=settled.tenant["id"])
    for body in (
        {"roles": ["organization_admin"]},
        {"roles": ["organization_viewer"]},
        {"tenants": [{"tenant": "staging", "roles": ["tenant_viewer"]}]},
        {"teams": ["vision"]},
    ):
        answer = world.call("POST", HOME, manager, json={"email": "new@example.com", **body})
        assert answer.status_code == 403, answer.text
    assert invite(settled, manager)["roles"][0]["role"] == "organization_member"
    for person, found in ((plain, 403), (settled.stranger, 404), (None, 401)):
        assert status(settled, "POST", HOME, person, json={"email": "x@example.com"}) == found
    for email in ("ada@EXAMPLE.com", "GRACE@example.com"):
        assert status(settled, "POST", HOME, settled.admin, json={"email": email}) == 409
    world.made("PATCH", f"/users/{settled.stranger.id}", settled.root, json={"is_active": False})
    assert status(settled, "POST", HOME, settled.admin, json={"email": settled.stranger.email}) == 409


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({}, 422),
        ({"email": "nobody"}, 422),
        ({"email": "a@example.com", "roles": []}, 422),
        ({"email": "a@example.com", "roles": ["tenant_admin"]}, 422),
        ({"email": "a@example.com", "roles": ["Admin", "organization_admin"]}, 422),
        ({"email": "a@example.com", "expires_in_days": 0}, 422),
        ({"email": "a@example.com", "expires_in_days": 1000}, 422),
        ({"email": "a@example.com", "teams": ["none"]}, 404),
        ({"email": "a@example.com", "teams": ["vision", "Vision"]}, 422),
        ({"email": "a@example.com", "tenants": [{"tenant": "none", "roles": ["Admin"]}]}, 404),
        ({"email": "a@example.com", "tenants": [{"tenant": "other/x", "roles": ["Admin"]}]}, 404),
        ({"email": "a@example.com", "tenants": [{"tenant": "staging", "roles": ["project_admin"]}]}, 422),
        ({"email": "a@example.com", "tenants": [{"tenant": "staging", "roles": ["Admin"]}] * 2}, 422),
    ],
)
def test_bad_invitations_are_not_made(settled: Settled, body: dict[str, Any], found: int) -> None:
    team(settled)
    before = settled.world.audited()
    assert status(settled, "POST", HOME, settled.admin, json=body) == found
    assert settled.world.made("GET", HOME, settled.admin) == []
    assert settled.world.audited() == before


def test_a_tenant_of_another_organization_cannot_be_promised(settled: Settled) -> None:
    elsewhere = settled.world.made("POST", "/tenants", settled.root, json={"name": "lab", "organization": "other"})
    body = {"email": "a@example.com", "tenants": [{"tenant": elsewhere["id"], "roles": ["Admin"]}]}
    assert status(settled, "POST", HOME, settled.root, json=body) == 404


@pytest.mark.parametrize("end", ["demoted", "removed", "deactivated", "left the tenant", "lost the team"])
def test_a_promise_is_worth_no_more_than_its_maker(settled: Settled, end: str) -> None:
    world, tenant = settled.world, f"/tenants/{settled.tenant['id']}/members"
    boss = member(settled, "boss", "organization_manager")
    world.made("POST", tenant, settled.admin, json={"user": "boss", "roles": ["tenant_admin"]})
    vision = team(settled)
    give(settled, vision, "tenant_developer", tenant_id=settled.tenant["id"])
    promise = {"tenants": [{"tenant": "staging", "roles": ["tenant_viewer"]}]} if end != "lost the team" else {}
    made = invite(settled, boss, **({"teams": ["vision"]} if end == "lost the team" else promise))
    people = "/organizations/acme/members"
    acts: dict[str, tuple[str, str, Person, Any]] = {
        "demoted": ("PATCH", f"{people}/{boss.id}", settled.admin, {"roles": ["organization_member"]}),
        "removed": ("DELETE", f"{people}/{boss.id}", settled.admin, None),
        "deactivated": ("PATCH", f"/users/{boss.id}", settled.root, {"is_active": False}),
        "left the tenant": ("DELETE", f"{tenant}/{boss.id}", settled.admin, None),
        "lost the team": ("DELETE", f"{tenant}/{boss.id}", settled.admin, None),
    }
    method, path, by, body = acts[end]
    world.made(method, path, by, json=body)
    before = world.audited()
    refused = accept(settled, token(made), password=PASSWORD)
    assert refused.status_code == 409
    assert "promises more than Boss can still give" in refused.json()["detail"]
    assert world.audited() == before
    assert status(settled, "GET", "/users/grace@example.com", settled.root) == 404
    # Somebody who may give it all answers for it by making a new link.
    fresh = world.made("POST", f"{HOME}/{made['id']}/link", settled.admin, json={})
    assert accept(settled, token(made), password=PASSWORD).status_code == 410
    assert accept(settled, token(fresh), password=PASSWORD).status_code == 201


def test_roles_can_be_added_until_it_is_accepted(settled: Settled) -> None:
    world, vision, grace = settled.world, team(settled), settled.world.user("grace")
    made = invite(settled)
    ends = (world.clock() + dt.timedelta(days=1)).isoformat().replace("+00:00", "Z")
    here = f"invitation_id={made['id']}"
    world.made("POST", f"/roles/tenant_viewer/assignments?tenant_id={settled.tenant['id']}&{here}", settled.admin)
    world.made("POST", f"/roles/billing_admin/assignments?{here}&expires={ends}", settled.admin)
    world.made("POST", f"/teams/{vision['id']}/members?{here}", settled.admin)
    world.made("POST", f"/teams/{vision['id']}/members?{here}", settled.admin)
    only = f"/roles/organization_member/assignments?{here}"
    world.made("DELETE", only, settled.admin)
    last = world.call("DELETE", only.replace("organization_member", "billing_admin"), settled.admin)
    assert (last.status_code, "withdraw the invitation" in last.text) == (409, True)
    plain = member(settled, "plain")
    assert status(settled, "POST", f"/teams/{vision['id']}/members?{here}", plain) == 403
    shown = world.made("GET", f"/invitations/{made['id']}", grace)
    assert {each["role"] for each in shown["roles"]} == {"tenant_viewer", "billing_admin"}
    world.clock.forward(2 * 86_400)
    again = world.again(grace)
    # The only organization role has ended meanwhile.
    assert status(settled, "POST", f"/invitations/{made['id']}", again) == 410
    admin = world.again(settled.admin)
    world.made("POST", f"/roles/organization_viewer/assignments?{here}", admin)
    assert status(settled, "POST", f"/invitations/{made['id']}", again) == 201
    assert world.made("GET", f"/teams/{vision['id']}", again)["member_count"] == 1


def test_accepting_adds_to_what_a_member_has(settled: Settled) -> None:
    world, grace, vision = settled.world, settled.world.user("grace"), team(settled)
    made = invite(settled, **everything(settled))
    ends = (world.clock() + dt.timedelta(days=1)).isoformat().replace("+00:00", "Z")
    given = {"user": "grace", "roles": ["organization_viewer"], "expires": ends}
    world.made("POST", "/organizations/acme/members", settled.admin, json=given)
    body = {"user": "grace", "roles": ["tenant_admin"]}
    world.made("POST", f"/tenants/{settled.tenant['id']}/members", settled.admin, json=body)
    join(settled, vision, grace)
    assert status(settled, "POST", f"/invitations/{made['id']}", grace) == 201
    people = {each["username"]: each for each in world.made("GET", "/organizations/acme/members", settled.admin)}
    assert [(each["role"], each["expires"]) for each in people["grace"]["roles"]] == [("organization_viewer", None)]
    held = world.made("GET", f"/tenants/{settled.tenant['id']}/members?q=grace", settled.admin)[0]["roles"]
    assert {each["role"] for each in held} == {"tenant_visitor", "tenant_admin", "tenant_developer", "project_viewer"}


def test_what_an_expired_membership_left_does_not_come_back(settled: Settled) -> None:
    world, grace = settled.world, settled.world.user("grace")
    ends = (world.clock() + dt.timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    people = "/organizations/acme/members"
    for way in ("added", "invited"):
        world.made("POST", people, world.again(settled.admin), json={"user": "grace", "expires": ends})
        body = {"user": "grace", "roles": ["tenant_admin"]}
        world.made("POST", f"/tenants/{settled.tenant['id']}/members", world.again(settled.admin), json=body)
        world.clock.forward(7200)
        admin, again = world.again(settled.admin), world.again(grace)
        ends = (world.clock() + dt.timedelta(hours=1)).isoformat().replace("+00:00", "Z")
        if way == "added":
            world.made("POST", people, admin, json={"user": "grace"})
        else:
            made = world.made("POST", HOME, admin, json={"email": "grace@example.com"})
            world.made("POST", f"/invitations/{made['id']}", again)
        assert status(settled, "GET", "/organizations/acme", again) == 200
        assert world.made("GET", "/tenants", again) == []
        world.made("DELETE", f"{people}/{grace.id}", admin)


def test_links_expire_are_renewed_and_withdrawn(settled: Settled) -> None:
    world = settled.world
    made = invite(settled, expires_in_days=1)
    one = f"{HOME}/{made['id']}"
    world.clock.forward(86_401)
    admin = world.again(settled.admin)
    assert accept(settled, token(made), password=PASSWORD).status_code == 410
    assert [each["status"] for each in world.made("GET", f"{HOME}?status=expired", admin)] == ["expired"]
    assert world.made("GET", f"{HOME}?status=pending", admin) == []
    fresh = world.made("POST", f"{one}/link", admin, json={})
    assert (fresh["id"], fresh["status"]) == (made["id"], "pending")
    assert token(fresh) != token(made)
    assert world.made("GET", f"{HOME}?q=grace&status=pending", admin)[0]["id"] == made["id"]
    world.made("DELETE", one, admin)
    for method, path in (("DELETE", one), ("POST", f"{one}/link")):
        assert status(settled, method, path, admin, **({"json": {}} if method == "POST" else {})) == 404
    assert accept(settled, token(fresh), password=PASSWORD).status_code == 410
    assert world.made("GET", f"{HOME}?status=revoked", admin)[0]["roles"] == []
    again = world.made("POST", HOME, admin, json={"email": "grace@example.com", "expires_in_days": 1})
    assert accept(settled, token(again), password=PASSWORD).status_code == 201
    for method, path in (("DELETE", f"{HOME}/{again['id']}"), ("POST", f"{HOME}/{again['id']}/link")):
        assert status(settled, method, path, admin, **({"json": {}} if method == "POST" else {})) == 409


def test_a_new_invitation_replaces_one_that_expired(settled: Settled) -> None:
    world = settled.world
    old = invite(settled, expires_in_days=1)
    world.clock.forward(86_401)
    admin = world.again(settled.admin)
    new = world.made("POST", HOME, admin, json={"email": "grace@example.com"})
    assert status(settled, "POST", f"{HOME}/{old['id']}/link", admin, json={}) == 404
    assert [each["status"] for each in world.made("GET", HOME, admin)] == ["pending", "revoked"]
    assert accept(settled, token(new), password=PASSWORD).status_code == 201


def test_a_deleted_organization_invites_nobody(settled: Settled) -> None:
    world = settled.world
    world.made("POST", "/organizations", settled.root, json={"name": "empty"})
    made = world.made("POST", "/organizations/empty/invitations", settled.root, json={"email": "grace@example.com"})
    grace = world.user("grace")
    world.made("DELETE", "/organizations/empty", settled.root)
    assert world.made("GET", "/invitations", grace) == []
    assert status(settled, "POST", f"/invitations/{made['id']}", grace) == 410
    assert accept(settled, token(made), grace).status_code == 410


def test_bad_passwords_and_names_do_not_use_up_the_link(settled: Settled) -> None:
    secret = token(invite(settled))
    bodies: tuple[dict[str, Any], ...]
    bodies = ({}, {"password": "short"}, {"password": "grace@example.com"}, {"password": PASSWORD, "username": "X"})
    for body in bodies:
        assert accept(settled, secret, **body).status_code == 422
    for name in ("ada", "nagaya"):
        assert accept(settled, secret, password=PASSWORD, username=name).status_code == 409
    robot = settled.world.made("POST", "/organizations/acme/service_accounts", settled.admin, json={"name": "robot"})
    path = f"/organizations/acme/service_accounts/{robot['id']}/api_keys"
    key = settled.world.made("POST", path, settled.admin, json={"name": "k"})["key"]
    machine = {"Authorization": f"Bearer {key}"}
    answer = settled.world.client.post("/api/v1/invitations/accept", json={"token": secret}, headers=machine)
    assert answer.status_code == 403
    made = accept(settled, secret, password=PASSWORD, username="gracie", name="Grace H.")
    assert (made.status_code, made.json()["username"]) == (201, "gracie")


def test_of_two_who_use_a_link_at_once_one_joins(settled: Settled) -> None:
    secret = token(invite(settled))
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(accept, settled, secret, password=PASSWORD, username=f"grace{n}") for n in range(2)]
        statuses = sorted(call.result().status_code for call in calls)
    assert statuses[0] == 201
    assert statuses[1] in {401, 410}
    assert len(settled.world.made("GET", "/users?q=grace", settled.root)) == 1


def test_guesses_are_counted_and_secrets_stay_secret(settled: Settled) -> None:
    world, secret = settled.world, token(invite(settled))
    limit = world.state.settings.login_attempts
    for number in range(limit):
        assert accept(settled, f"{number:043}", password=PASSWORD).status_code == 410
    refused = accept(settled, secret, password=PASSWORD)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == str(world.state.settings.login_window)
    elsewhere = {"X-Forwarded-For": "198.51.100.9"}
    body = {"token": secret, "password": PASSWORD}
    assert world.call("POST", "/invitations/accept", json=body, headers=elsewhere).status_code == 201
    assert world.call("POST", "/invitations/accept", json={"token": "a b"}).status_code == 422
    world.state.database.close()
    stored = b"".join(path.read_bytes() for path in world.state.settings.data_dir.glob("control/control.db*"))
    assert secret.encode() not in stored
