"""The endpoints of permission checks: to the letter of what servers send and read, and about their own tenant only."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import select

from nagaya.access.models import Share
from tests.api.rbac.servers import Server, enroll
from tests.api.world import Person, Settled

PROJECT = str(uuid.UUID(int=5, version=4))
THING = str(uuid.UUID(int=6, version=4))


def member(settled: Settled, server: Server, name: str, *roles: str) -> Person:
    """A person of the organization with roles in the tenant."""
    person = settled.world.user(name)
    settled.world.made("POST", "/organizations/acme/members", settled.admin, json={"user": name})
    if roles:
        body = {"user": name, "roles": list(roles)}
        settled.world.made("POST", f"/tenants/{server.id}/members", settled.admin, json=body)
    return person


def check(server: Server, who: object, action: str, *resources: str, method: str = "POST") -> dict[str, bool]:
    query = {"user_id": str(who), "action": action}
    if method == "POST":
        answer = server.call("POST", "/rbac/check_permissions", params=query, json=list(resources))
    else:
        answer = server.call("GET", "/rbac/check_permissions", params=query | {"resources": list(resources)})
    assert answer.status_code == 200, answer.text
    found: dict[str, bool] = answer.json()
    return found


def test_every_string_is_a_key_exactly_as_it_was_written(settled: Settled) -> None:
    server = enroll(settled)
    viewer = member(settled, server, "grace", "tenant_viewer")
    readable = ["stack", f"stack/{THING.upper()}", f"{PROJECT}:pipeline/{THING}", f"project/{PROJECT}"]
    old = [f"{server.id}@server:pipeline", f"{server.id}@server:stack/{THING}", f"{server.id.upper()}@server:model"]
    odd = [
        "",
        "hologram",
        "STACK",
        "pipeline",
        f"{PROJECT}:stack",
        "a b",
        "é",
        "x" * 2000,
        f"{uuid.uuid4()}@server:stack",
    ]
    for method in ("POST", "GET"):
        answer = check(server, viewer.id, "read", *readable, *old, *odd, method=method)
        assert {each for each, allowed in answer.items() if allowed} == {*readable, *old}
        assert set(answer) == {*readable, *old, *odd}
        assert not any(check(server, viewer.id, "update", *readable, *old, method=method).values())
    assert check(server, viewer.id, "read") == {}
    for nobody in (uuid.uuid4(), "nobody", ""):
        assert not any(check(server, nobody, "read", *readable).values())
    assert settled.world.audited() == settled.world.audited()


def test_lists(settled: Settled) -> None:
    server = enroll(settled)
    viewer, other = member(settled, server, "grace", "tenant_viewer"), member(settled, server, "linus")

    def listed(who: Person, resource: str, action: str = "read") -> Any:
        query = {"user_id": str(who.id), "resource": resource, "action": action}
        return server.call("GET", "/rbac/allowed_resource_ids", params=query).json()

    assert listed(viewer, "stack") == {"full_access": True, "ids": []}
    assert listed(viewer, f"{server.id}@server:pipeline") == {"full_access": True, "ids": []}
    none = {"full_access": False, "ids": []}
    assert listed(viewer, "stack", "update") == none
    assert listed(other, "stack") == none
    for odd in (f"{uuid.uuid4()}@server:stack", "pipeline", f"stack/{THING}", "!", ""):
        assert listed(viewer, odd) == none


def test_a_revocation_counts_at_the_next_question(settled: Settled) -> None:
    world, server = settled.world, enroll(settled)
    viewer = member(settled, server, "grace", "tenant_viewer")
    assert check(server, viewer.id, "read", "stack") == {"stack": True}
    world.made("DELETE", f"/organizations/acme/members/{viewer.id}", settled.admin)
    assert check(server, viewer.id, "read", "stack", "flavor") == {"stack": False, "flavor": False}
    other = member(settled, server, "linus", "tenant_developer")
    assert check(server, other.id, "create", "stack") == {"stack": True}
    world.made("PATCH", f"/users/{other.id}", settled.root, json={"is_active": False})
    assert check(server, other.id, "create", "stack") == {"stack": False}
    # What ends by time needs nobody to say so.
    third = member(settled, server, "barbara")
    end = world.clock.time.timestamp() + 60
    body = {"user": "barbara", "roles": ["tenant_viewer"], "expires": end}
    world.made("POST", f"/tenants/{server.id}/members", settled.admin, json=body)
    assert check(server, third.id, "read", "stack") == {"stack": True}
    world.clock.forward(61)
    assert check(server, third.id, "read", "stack") == {"stack": False}


def test_a_server_asks_about_its_own_tenant_only(settled: Settled) -> None:
    first, second = enroll(settled), enroll(settled, "another")
    viewer = member(settled, first, "grace", "tenant_viewer")
    assert check(first, viewer.id, "read", "stack") == {"stack": True}
    assert check(second, viewer.id, "read", "stack") == {"stack": False}
    own = f"{second.id}@server:stack"
    assert check(first, viewer.id, "read", own) == {own: False}
    for method, path in (("POST", "/rbac/check_permissions"), ("GET", "/rbac/allowed_resource_ids")):
        assert settled.world.call(method, f"{path}?user_id=x&action=read", settled.admin).status_code == 401


def share(server: Server, with_: Person, resource: str, *actions: str, **more: Any) -> Any:
    body = {"user_id": str(with_.id), "resource": resource, "actions": list(actions)}
    return server.call("POST", "/rbac/resource_members", json=body | more)


def test_sharing_in_the_forms_of_all_releases(settled: Settled) -> None:
    server = enroll(settled)
    by, with_ = member(settled, server, "grace", "tenant_developer"), member(settled, server, "linus")
    new = {"team_id": None, "sharing_user_id": str(by.id)}
    stack, pipeline = f"stack/{THING}", f"{server.id}@server:pipeline/{THING}"
    assert share(server, with_, stack, "read", "update", **new).status_code == 200
    assert check(server, with_.id, "update", stack) == {stack: True}
    listed = server.call("GET", "/rbac/resource_members", params={"resource": stack}).json()
    assert listed == [{"principal_id": str(with_.id), "resource": stack, "actions": ["read", "update"]}]
    # Up to 0.80.2 nobody says who shares; up to 0.75.1 resources name the server, also those that others do not.
    old = f"{server.id}@server:{stack}"
    assert share(server, with_, old, "read").status_code == 200
    assert check(server, with_.id, "update", stack, old) == {stack: False, old: False}
    assert check(server, with_.id, "read", stack, old) == {stack: True, old: True}
    assert share(server, with_, pipeline, "read").status_code == 200
    assert check(server, with_.id, "read", pipeline) == {pipeline: True}
    assert share(server, with_, pipeline).status_code == 200
    assert check(server, with_.id, "read", pipeline) == {pipeline: False}
    events = settled.world.events("resource.share")
    assert [each.actor_kind for each in events] == ["server"] * 3


def test_refused_shares_say_why_in_the_one_way_that_servers_pass_on(settled: Settled) -> None:
    server = enroll(settled)
    by, with_ = member(settled, server, "grace", "tenant_developer"), member(settled, server, "linus")
    stack = f"stack/{THING}"
    sharing = {"sharing_user_id": str(by.id)}
    foreign = f"{uuid.uuid4()}@server:{stack}"
    cases = [
        share(server, with_, "stack", "read", **sharing),
        share(server, with_, "!", "read", **sharing),
        share(server, with_, stack, "fly", **sharing),
        share(server, with_, foreign, "read", **sharing),
        share(server, by, stack, "read", **sharing),
        share(server, with_, stack, "read", sharing_user_id=str(uuid.uuid4())),
        share(server, with_, stack, "read", **sharing, user_id=str(uuid.uuid4())),
        share(server, with_, stack, "read", **sharing, user_id=None),
        share(server, with_, stack, "read", **sharing, user_id=None, team_id=str(uuid.uuid4())),
    ]
    for answer in cases:
        assert (answer.status_code, len(answer.json()["detail"]) > 10) == (403, True), answer.text
    assert server.call("GET", "/rbac/resource_members", params={"resource": foreign}).status_code == 403


def test_deleted_resources_and_projects_take_their_shares_along(settled: Settled) -> None:
    server = enroll(settled)
    with_ = member(settled, server, "linus")
    names = [f"stack/{THING}", f"{PROJECT}:pipeline/{THING}", f"project/{PROJECT}", f"secret/{THING}"]
    for name in names:
        assert share(server, with_, name, "read").status_code == 200

    def left() -> set[str]:
        with settled.world.state.database.read() as session:
            return set(session.scalars(select(Share.resource).where(Share.tenant_id == uuid.UUID(server.id))))

    assert server.call("DELETE", "/rbac/resources", params={"resources": names[:1]}).json() == {"resources": 1}
    assert left() == set(names[1:])
    query = {"resources": [f"project/{PROJECT}", f"hologram/{THING}"]}
    assert server.call("DELETE", "/rbac/resources", params=query).status_code == 200
    assert left() == {names[3]}
    assert check(server, with_.id, "read", names[1]) == {names[1]: False}
    assert server.call("DELETE", "/rbac/resources", params={"resources": ["!"]}).status_code == 403
