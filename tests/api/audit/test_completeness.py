"""Every operation that changes something writes exactly one audit event when it succeeds, and none when it fails."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.api.routes import operations
from tests.api.world import NEW_PASSWORD, PASSWORD, Person, Settled

CLIENT = str(uuid.uuid4())
CHANGES_NOTHING = frozenset({"report_tenant_status", "report_workspace_status"})
"""Signs of life, with which every start of a server begins: nothing is stored."""
CHANGES_TWO_THINGS = frozenset({"accept_invitation_link"})
"""It makes an account and a membership, each of which has an event of its own."""


@dataclass
class Call:
    """A request that succeeds."""

    method: str
    path: str
    by: Person | None
    json: Any = None
    data: Any = None
    headers: dict[str, str] | None = None


Make = Callable[[Settled], Call]
ME = "/users/me"
ACCOUNTS = "/organizations/acme/service_accounts"
INVITATIONS = "/organizations/acme/invitations"


def key_of_mine(settled: Settled) -> str:
    made = settled.world.made("POST", f"{ME}/api_keys", settled.admin, json={"name": "mine"})
    return f"{ME}/api_keys/{made['id']}"


def account(settled: Settled) -> str:
    made = settled.world.made("POST", ACCOUNTS, settled.admin, json={"name": "robot"})
    return f"{ACCOUNTS}/{made['id']}"


def key_of_account(settled: Settled) -> str:
    place = account(settled)
    made = settled.world.made("POST", f"{place}/api_keys", settled.admin, json={"name": "ci"})
    return f"{place}/api_keys/{made['id']}"


def code(settled: Settled) -> str:
    begun = settled.world.made("POST", "/auth/device_authorization", data={"client_id": CLIENT})
    return str(begun["user_code"])


def device(settled: Settled) -> str:
    body = {"user_code": code(settled), "tenant_id": settled.tenant["id"]}
    return f"/devices/{settled.world.made('PUT', '/devices/verify', settled.admin, json=body)['id']}"


def other_session(settled: Settled) -> str:
    return str(settled.world.again(settled.admin).session_id)


def somebody(settled: Settled) -> Person:
    return settled.world.user("grace")


def member(settled: Settled, place: str, role: str) -> str:
    person = somebody(settled)
    if not place.startswith("/organizations"):
        settled.world.made("POST", "/organizations/acme/members", settled.admin, json={"user": "grace"})
    settled.world.made("POST", f"{place}/members", settled.admin, json={"user": "grace", "roles": [role]})
    return f"{place}/members/{person.id}"


def tenant(settled: Settled, noun: str) -> str:
    return f"/{noun}s/{settled.tenant['id']}"


def empty_organization(settled: Settled) -> str:
    settled.world.made("POST", "/organizations", settled.root, json={"name": "empty"})
    return "/organizations/empty"


def unprotected(settled: Settled, noun: str) -> str:
    place = tenant(settled, noun)
    settled.world.made("PATCH", place, settled.admin, json={"protected": False})
    return place


def deactivated(settled: Settled, noun: str) -> str:
    place = tenant(settled, noun)
    settled.world.made("PATCH", f"{place}/deactivate", settled.admin)
    return place


def deleted(settled: Settled, noun: str) -> str:
    place = unprotected(settled, noun)
    settled.world.made("DELETE", place, settled.admin)
    return place


def server(settled: Settled) -> dict[str, str]:
    issue = settled.world.state.tokens.issue
    token = issue("server", uuid.UUID(settled.tenant["id"]), audience="nagaya-server", seconds=60)
    return {"Authorization": f"Bearer {token}"}


def tenant_samples(noun: str) -> dict[str, Make]:
    new = {"name": "fresh", "organization": "acme"}
    role = {"roles": ["tenant_viewer"]}
    return {
        f"create_{noun}": lambda s: Call("POST", f"/{noun}s", s.admin, json=new),
        f"update_{noun}": lambda s: Call("PATCH", tenant(s, noun), s.admin, json={"description": "x"}),
        f"delete_{noun}": lambda s: Call("DELETE", unprotected(s, noun), s.admin),
        f"deploy_{noun}": lambda s: Call("PATCH", f"{deactivated(s, noun)}/deploy", s.admin),
        f"deactivate_{noun}": lambda s: Call("PATCH", f"{tenant(s, noun)}/deactivate", s.admin),
        f"restore_{noun}": lambda s: Call("POST", f"{deleted(s, noun)}/restore", s.admin),
        f"add_{noun}_member": lambda s: Call(
            "POST",
            f"{tenant(s, noun)}/members",
            s.admin,
            json={"user": _in_organization(s), "roles": ["tenant_viewer"]},
        ),
        f"update_{noun}_member": lambda s: Call(
            "PATCH", member(s, tenant(s, noun), "tenant_developer"), s.admin, json=role
        ),
        f"remove_{noun}_member": lambda s: Call("DELETE", member(s, tenant(s, noun), "tenant_viewer"), s.admin),
        f"remove_{noun}_member_by_query": lambda s: Call(
            "DELETE", by_query(member(s, tenant(s, noun), "tenant_viewer")), s.admin
        ),
        f"report_{noun}_status": lambda s: Call("PATCH", f"/{noun}_status", None, headers=server(s)),
    }


def by_query(member_address: str) -> str:
    place, _, principal = member_address.rpartition("/")
    return f"{place}?user_id={principal}"


def team(settled: Settled) -> str:
    made = settled.world.made("POST", "/teams", settled.admin, json={"name": "vision", "organization": "acme"})
    return f"/teams/{made['id']}"


def member_of_team(settled: Settled) -> str:
    place = f"{team(settled)}/members?user_id={settled.admin.id}"
    settled.world.made("POST", place, settled.admin)
    return place


def invitation(settled: Settled, email: str = "new@example.com") -> dict[str, Any]:
    made: dict[str, Any] = settled.world.made("POST", INVITATIONS, settled.admin, json={"email": email})
    return made


def invited(settled: Settled) -> Call:
    person = somebody(settled)
    return Call("POST", f"/invitations/{invitation(settled, person.email)['id']}", person)


def invited_by_link(settled: Settled) -> Call:
    token = invitation(settled)["link"].partition("token=")[2]
    return Call("POST", "/invitations/accept", None, json={"token": token, "password": PASSWORD})


def _in_organization(settled: Settled) -> str:
    person = somebody(settled)
    settled.world.made("POST", "/organizations/acme/members", settled.admin, json={"user": "grace"})
    return person.username


SAMPLES: dict[str, Make] = {
    "log_in": lambda s: Call("POST", "/auth/login", None, data={"username": "ada", "password": PASSWORD}),
    "authorize_device": lambda s: Call("POST", "/auth/device_authorization", None, data={"client_id": CLIENT}),
    "log_out": lambda s: Call("POST", "/auth/logout", s.admin),
    "authorize_tenant": lambda s: Call("POST", f"/auth/tenant_authorization/{s.tenant['id']}", s.admin),
    "verify_device": lambda s: Call(
        "PUT", "/devices/verify", s.admin, json={"user_code": code(s), "tenant_id": s.tenant["id"]}
    ),
    "rename_device": lambda s: Call("PUT", device(s), s.admin, json={"hostname": "desk"}),
    "delete_device": lambda s: Call("DELETE", device(s), s.admin),
    "update_me": lambda s: Call("PATCH", ME, s.admin, json={"name": "Ada L."}),
    "change_password": lambda s: Call(
        "PUT", f"{ME}/password", s.admin, json={"old_password": PASSWORD, "new_password": NEW_PASSWORD}
    ),
    "end_session": lambda s: Call("DELETE", f"{ME}/sessions/{other_session(s)}", s.admin),
    "create_my_api_key": lambda s: Call("POST", f"{ME}/api_keys", s.admin, json={"name": "k"}),
    "update_my_api_key": lambda s: Call("PATCH", key_of_mine(s), s.admin, json={"description": "d"}),
    "revoke_my_api_key": lambda s: Call("DELETE", key_of_mine(s), s.admin),
    "rotate_my_api_key": lambda s: Call("POST", f"{key_of_mine(s)}/rotate", s.admin, json={}),
    "create_user": lambda s: Call("POST", "/users", s.root, json={"email": "new@example.com"}),
    "update_user": lambda s: Call("PATCH", f"/users/{s.admin.id}", s.root, json={"name": "A"}),
    "delete_user": lambda s: Call("DELETE", f"/users/{s.admin.id}", s.root),
    "create_service_account": lambda s: Call("POST", ACCOUNTS, s.admin, json={"name": "robot", "roles": []}),
    "update_service_account": lambda s: Call("PATCH", account(s), s.admin, json={"is_active": False}),
    "delete_service_account": lambda s: Call("DELETE", account(s), s.admin),
    "create_api_key": lambda s: Call("POST", f"{account(s)}/api_keys", s.admin, json={"name": "ci"}),
    "update_api_key": lambda s: Call("PATCH", key_of_account(s), s.admin, json={"is_active": False}),
    "revoke_api_key": lambda s: Call("DELETE", key_of_account(s), s.admin),
    "rotate_api_key": lambda s: Call("POST", f"{key_of_account(s)}/rotate", s.admin, json={}),
    "create_organization": lambda s: Call("POST", "/organizations", s.root, json={"name": "third"}),
    "update_organization": lambda s: Call("PATCH", "/organizations/acme", s.admin, json={"description": "x"}),
    "delete_organization": lambda s: Call("DELETE", empty_organization(s), s.root),
    "add_organization_member": lambda s: Call(
        "POST", "/organizations/acme/members", s.admin, json={"user": somebody(s).username}
    ),
    "update_organization_member": lambda s: Call(
        "PATCH",
        member(s, "/organizations/acme", "organization_member"),
        s.admin,
        json={"roles": ["organization_admin"]},
    ),
    "remove_organization_member": lambda s: Call(
        "DELETE", member(s, "/organizations/acme", "organization_member"), s.admin
    ),
    "remove_organization_member_by_query": lambda s: Call(
        "DELETE", by_query(member(s, "/organizations/acme", "organization_member")), s.admin
    ),
    "create_team": lambda s: Call("POST", "/teams", s.admin, json={"name": "vision", "organization": "acme"}),
    "update_team": lambda s: Call("PATCH", team(s), s.admin, json={"name": "sight"}),
    "delete_team": lambda s: Call("DELETE", team(s), s.admin),
    "add_team_member": lambda s: Call("POST", f"{team(s)}/members?user_id={s.admin.id}", s.admin),
    "remove_team_member": lambda s: Call("DELETE", member_of_team(s), s.admin),
    "create_invitation": lambda s: Call("POST", INVITATIONS, s.admin, json={"email": "new@example.com"}),
    "delete_invitation": lambda s: Call("DELETE", f"{INVITATIONS}/{invitation(s)['id']}", s.admin),
    "renew_invitation": lambda s: Call("POST", f"{INVITATIONS}/{invitation(s)['id']}/link", s.admin, json={}),
    "accept_invitation": invited,
    "accept_invitation_link": invited_by_link,
    **tenant_samples("tenant"),
    **tenant_samples("workspace"),
}


def test_every_operation_that_changes_something_has_a_sample(settled: Settled) -> None:
    assert set(SAMPLES) == {each.id for each in operations(settled.world.app) if each.writes}


@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_success_writes_exactly_one_event(settled: Settled, name: str) -> None:
    world = settled.world
    call = SAMPLES[name](settled)
    before = world.audited()
    answer = world.call(call.method, call.path, call.by, json=call.json, data=call.data, headers=(call.headers or {}))
    assert answer.status_code < 300, answer.text
    assert world.audited() - before == (0 if name in CHANGES_NOTHING else 2 if name in CHANGES_TWO_THINGS else 1)


def test_a_failure_leaves_neither_change_nor_event(settled: Settled) -> None:
    world = settled.world
    before = world.audited()
    answer = world.call("POST", "/users", settled.root, json={"email": "ADA@example.com"})
    assert answer.status_code == 409
    assert world.audited() == before


def test_events_tell_who_what_and_where_from_and_never_secrets(settled: Settled) -> None:
    world = settled.world
    headers = {"X-Request-ID": "r-1", "X-Forwarded-For": "6.6.6.6, 198.51.100.7", "User-Agent": "x"}
    key = world.call("POST", f"{ME}/api_keys", settled.admin, json={"name": "ci"}, headers=headers).json()["key"]
    event = world.events("api_key.create")[-1]
    assert (event.actor_name, event.actor_kind, event.outcome) == ("ada", "user", "success")
    assert (event.request_id, event.address, event.target_name) == ("r-1", "198.51.100.7", "ci")
    world.made("PUT", f"{ME}/password", settled.admin, json={"old_password": PASSWORD, "new_password": NEW_PASSWORD})
    wrong = {"username": "ada", "password": "not it at all"}
    assert world.call("POST", "/auth/login", data=wrong).status_code == 401
    world.state.database.close()
    stored = b"".join(path.read_bytes() for path in world.state.settings.data_dir.glob("control/control.db*"))
    for secret in (key, PASSWORD, NEW_PASSWORD, "not it at all", settled.admin.token):
        assert secret.encode() not in stored


def test_an_organizations_events_are_listed_by_cursor(settled: Settled) -> None:
    world = settled.world
    for number in range(3):
        world.made("POST", ACCOUNTS, settled.admin, json={"name": f"robot-{number}"})
    seen, address = [], "/api/v1/organizations/acme/audit_events?limit=2&action=service_account.*"
    while address:
        answer = world.client.get(address, headers=settled.admin.auth)
        assert answer.status_code == 200
        seen += [event["target_name"] for event in answer.json()]
        link = answer.headers.get("link", "")
        address = link.partition(">")[0].removeprefix("<")
    assert seen == ["robot-2", "robot-1", "robot-0"]
    mine = world.made("GET", f"/organizations/acme/audit_events?actor_id={settled.root.id}", settled.admin)
    assert mine
    assert {event["actor_name"] for event in mine} == {"root"}
    since = world.clock.time.isoformat().replace("+00:00", "Z")
    assert len(world.made("GET", f"/organizations/acme/audit_events?since={since}", settled.admin)) >= 3
    none = world.made("GET", f"/organizations/acme/audit_events?until={since}&tenant_id={uuid.uuid4()}", settled.admin)
    assert none == []
    assert world.call("GET", "/organizations/acme/audit_events", settled.stranger).status_code == 404
