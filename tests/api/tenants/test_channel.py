"""The channel: who may use it, policy and its changes in milliseconds, events exactly once, shares."""

import asyncio
import datetime as dt
import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from nagaya.access.models import Share
from nagaya.audit.models import AuditEvent
from nagaya_policy import Policy, apply_delta
from tests.api.tenants.installation import Actor, Installation, eventually, installation, ready


@pytest.fixture(scope="module")
def root(api: Installation) -> Actor:
    actor = api.user("root", superuser=True)
    assert actor.http.post("/organizations", json={"name": "acme"}).status_code == 201
    return actor


@pytest.fixture
def tenant(api: Installation, root: Actor) -> str:
    name = f"t{uuid.uuid4().hex[:12]}"
    body = root.http.post("/tenants", json={"name": name, "organization": "acme"}).json()
    ready(root, body["id"])
    return str(body["id"])


class Reader:
    """Follows a stream in a thread and keeps the policy as a tenant would."""

    def __init__(self, client: httpx.Client, after: int = -1) -> None:
        self.messages: list[tuple[float, dict[str, Any]]] = []
        self.policy: dict[str, Any] = {}
        self.ended = threading.Event()
        self._client = client
        self._after = after
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with self._client.stream("GET", "/stream", params={"after": self._after}, timeout=60) as answer:
                assert answer.status_code == 200
                for line in answer.iter_lines():
                    message = json.loads(line)
                    # First the message: whoever waits for the policy then looks at the message that brought it.
                    self.messages.append((time.perf_counter(), message))
                    if message["type"] == "policy":
                        self.policy = message["policy"]
                    elif message["type"] == "delta":
                        self.policy = apply_delta(self.policy, message)
        except httpx.HTTPError:
            pass
        finally:
            self.ended.set()


@contextmanager
def reading(api: Installation, tenant: str, after: int = -1) -> Iterator[Reader]:
    with api.channel(tenant) as client:
        yield Reader(client, after)


def test_only_the_tenant_itself_is_heard(api: Installation, tenant: str, root: Actor) -> None:
    other = root.http.post("/tenants", json={"name": f"o{uuid.uuid4().hex[:8]}", "organization": "acme"}).json()["id"]
    token = api.secret(tenant, "channel")
    good = api.client(token, to="channel", **{"Nagaya-Tenant": tenant})
    assert good.get("/policy").status_code == 200
    wrong = [
        api.client(token, to="channel", **{"Nagaya-Tenant": other}),
        api.client(token, to="channel", **{"Nagaya-Tenant": str(uuid.uuid4())}),
        api.client(token, to="channel", **{"Nagaya-Tenant": "x"}),
        api.client(token, to="channel"),
        api.client(to="channel", **{"Nagaya-Tenant": tenant}),
        api.client(token[:-1], to="channel", **{"Nagaya-Tenant": tenant}),
        api.client(api.secret(tenant, "client"), to="channel", **{"Nagaya-Tenant": tenant}),
        api.client(to="channel", **{"Nagaya-Tenant": tenant, "Authorization": f"Basic {token}"}),
    ]
    for client in wrong:
        for method, path in (("GET", "/policy"), ("GET", "/stream"), ("POST", "/events"), ("POST", "/shares")):
            body = {"events": []} if path == "/events" else None
            assert client.request(method, path, json=body).status_code == 401, (path, client.headers)


def test_documents_of_tenants_that_ask_at_once_are_compiled_together(
    api: Installation, tenant: str, root: Actor
) -> None:
    publisher = api.control.publisher
    compiled: list[int] = []
    original = publisher.compile

    async def counted(tenant_ids: list[uuid.UUID]) -> dict[uuid.UUID, dict[str, Any]]:
        compiled.append(len(tenant_ids))
        return await original(tenant_ids)

    async def failing(tenant_ids: list[uuid.UUID]) -> dict[uuid.UUID, dict[str, Any]]:
        raise OSError(f"no database for {len(tenant_ids)}")

    async def ask() -> list[Any]:
        asked = [*([uuid.UUID(tenant)] * 40), uuid.uuid4()]
        return await asyncio.gather(*map(publisher.document, asked), return_exceptions=True)

    try:
        publisher.compile = counted  # type: ignore[method-assign]
        *found, unknown = api.run(ask)
        assert {document["tenant"] for document in found} == {tenant}
        assert unknown is None
        assert len(compiled) == 1
        publisher.compile = failing  # type: ignore[method-assign]
        assert all(isinstance(each, OSError) for each in api.run(ask))
    finally:
        publisher.compile = original  # type: ignore[method-assign]
    assert api.run(ask)[0]["tenant"] == tenant


def test_policy_is_sent_if_it_is_newer(api: Installation, tenant: str, root: Actor) -> None:
    client = api.channel(tenant)
    document = client.get("/policy").json()
    policy = Policy.from_document(document)
    assert policy.principals[str(root.id)].superuser
    assert document["jwks"]["keys"][0]["crv"] == "Ed25519"
    assert "d" not in document["jwks"]["keys"][0]
    assert client.get("/policy", params={"after": document["version"]}).status_code == 204
    assert client.get("/policy", params={"after": document["version"] - 1}).status_code == 200
    assert client.get("/policy", params={"after": "x"}).status_code == 422


def test_a_question_for_a_policy_that_is_not_newer_compiles_nothing(
    api: Installation, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = api.channel(tenant)
    version = client.get("/policy").json()["version"]

    async def unwanted(tenant_id: uuid.UUID) -> None:
        raise AssertionError(f"the policy of {tenant_id} was compiled")

    monkeypatch.setattr(api.control.publisher, "document", unwanted)
    assert client.get("/policy", params={"after": version}).status_code == 204


def test_removal_of_a_member_reaches_an_open_stream_at_once(api: Installation, tenant: str, root: Actor) -> None:
    took = []
    with reading(api, tenant) as reader:
        eventually(lambda: reader.policy)
        for number in range(5):
            who = api.user(f"gone{number}{uuid.uuid4().hex[:6]}")
            assert root.http.post("/organizations/acme/members", json={"user": who.username}).status_code == 201
            given = {"user": who.username, "roles": ["tenant_developer"]}
            assert root.http.post(f"/tenants/{tenant}/members", json=given).status_code == 201
            eventually(lambda who=who: str(who.id) in reader.policy["principals"])
            asked = time.perf_counter()
            assert root.http.delete(f"/organizations/acme/members/{who.id}").status_code == 204
            answered = time.perf_counter()
            eventually(lambda who=who: str(who.id) not in reader.policy["principals"])
            arrived = reader.messages[-1][0]
            took.append(((arrived - asked) * 1000, (arrived - answered) * 1000))
            assert reader.messages[-1][1]["type"] == "delta"
        print("removal, ms from request / from its answer:", [tuple(round(each, 1) for each in pair) for pair in took])
        assert min(total for total, _ in took) < 1000
    eventually(lambda: api.runtime.policies[tenant]["version"] == reader.policy["version"])


def test_a_revoked_session_and_a_deactivated_user_reach_the_stream(api: Installation, tenant: str, root: Actor) -> None:
    who = api.user(f"u{uuid.uuid4().hex[:8]}")
    api.give(who, "organization_member", "acme")
    given = {"user": who.username, "roles": ["tenant_viewer"]}
    with reading(api, tenant) as reader:
        assert root.http.post(f"/tenants/{tenant}/members", json=given).status_code == 201
        eventually(lambda: str(who.id) in reader.policy.get("principals", {}))
        assert root.http.patch(f"/users/{who.id}", json={"is_active": False}).status_code == 200
        eventually(lambda: str(who.id) not in reader.policy["principals"])


def test_a_stream_that_has_the_newest_gets_nothing_but_pings(api: Installation, tenant: str, root: Actor) -> None:
    version = api.channel(tenant).get("/policy").json()["version"]
    with reading(api, tenant, after=version) as reader:
        eventually(lambda: reader.messages)
        assert [message["type"] for _, message in reader.messages] == ["ping"]


def test_events_are_taken_in_once(api: Installation, tenant: str, root: Actor) -> None:
    client = api.channel(tenant)

    def event(seq: int, **more: Any) -> dict[str, Any]:
        base = {
            "seq": seq,
            "time": 1_790_000_000.5,
            "intent": "i",
            "principal": str(root.id),
            "method": "DELETE",
            "route": "/api/v1/stacks/{stack_id}",
            "params": {"stack_id": "abc"},
            "request_id": "r-1",
        }
        return base | more

    intent, outcome = event(1, kind="audit.intent"), event(2, kind="audit.outcome", outcome="success", status=200)
    odd = event(3, kind="audit.outcome", outcome="nonsense", status="x", params=["not", "an", "object"], principal=7)
    usage = {"seq": 4, "time": 1.0, "kind": "usage", "feature": "pipeline", "total": 1, "resource_id": "r"}
    unknown = {"seq": 5, "time": 1.0, "kind": "something.new"}
    assert client.post("/events", json={"events": [outcome, intent]}).json() == {"acknowledged": 2}
    assert client.post("/events", json={"events": [intent, outcome]}).json() == {"acknowledged": 2}
    assert client.post("/events", json={"events": [odd, usage, unknown]}).json() == {"acknowledged": 5}
    assert client.post("/events", json={"events": []}).json() == {"acknowledged": 5}
    with api.database.read() as db:
        rows = db.scalars(
            select(AuditEvent)
            .where(AuditEvent.tenant_id == uuid.UUID(tenant), AuditEvent.action.not_like("tenant.%"))
            .order_by(AuditEvent.sequence)
        ).all()
    assert [(row.action, row.outcome, row.actor_name) for row in rows] == [
        ("stacks.delete", "success", "root"),
        ("stacks.delete", "unknown", ""),
    ]
    assert rows[0].target_id == "abc"
    again = {"seq": 6, "time": 2.0, "kind": "usage", "feature": "pipeline", "total": 1, "resource_id": "r"}
    odd_usage = [
        {**again, "seq": 7, "total": 9},
        {**again, "seq": 8, "feature": ""},
        {**again, "seq": 9, "total": True},
    ]
    assert client.post("/events", json={"events": [again, *odd_usage]}).json() == {"acknowledged": 9}
    assert root.http.get(f"/tenants/{tenant}").json()["usage_counts"] == {"pipeline": 1}
    deleted = {**again, "seq": 10, "total": -1}
    assert client.post("/events", json={"events": [deleted]}).json() == {"acknowledged": 10}
    assert root.http.get(f"/tenants/{tenant}").json()["usage_counts"] == {}
    for bad in ({"events": [{"seq": 0, "time": 1, "kind": "x"}]}, {"events": "x"}, {}, [], {"events": [{}]}):
        assert client.post("/events", json=bad).status_code == 422


def test_events_that_a_hostile_tenant_makes_up_neither_fail_nor_fill_the_database(
    api: Installation, root: Actor
) -> None:
    body = {"organization": "acme", "name": f"h{uuid.uuid4().hex[:8]}"}
    tenant = ready(root, root.http.post("/tenants", json=body).json()["id"])["id"]
    client = api.channel(tenant)
    base = '"time": 3999999999, "kind": "audit.outcome", "route": "/api/v1/stacks"'
    hostile = [
        '"principal": "\\ud800", "method": "\\ud800", "params": {"\\ud800": "\\ud800", "n": NaN}',
        '"route": "\\ud800", "request_id": "\\ud800"',
        '"outcome": ["success"], "status": 1e400, "method": {}',
        '"params": {"a": ' + "[" * 100 + "]" * 100 + "}",
        '"params": {"a": "' + "x" * 1_000_000 + '"}, "status": ' + "9" * 4000,
    ]
    for seq, more in enumerate(hostile, 1):
        content = f'{{"events": [{{"seq": {seq}, {base}, {more}}}]}}'
        answer = client.post("/events", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()) == (200, {"acknowledged": seq}), more[:80]
    with api.database.read() as db:
        condition = (AuditEvent.tenant_id == uuid.UUID(tenant), AuditEvent.action.not_like("tenant.%"))
        rows = db.scalars(select(AuditEvent).where(*condition)).all()
    assert len(rows) == len(hostile)
    for row in rows:
        assert len(json.dumps(row.details, allow_nan=False)) < 1000
        assert row.time < dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)


def member(api: Installation, tenant: str | None, role: str | None = None) -> Actor:
    who = api.user(f"m{uuid.uuid4().hex[:8]}")
    api.give(who, "organization_member", "acme")
    if role and tenant:
        api.give(who, role, "acme", tenant=tenant)
    return who


def shared(api: Installation, tenant: str, by: Actor, with_: Actor, resource: str, *actions: str, **more: Any) -> Any:
    body = {
        "sharing_user_id": str(by.id),
        "user_id": str(with_.id),
        "team_id": None,
        "resource": resource,
        "actions": list(actions),
    }
    return api.channel(tenant).post("/shares", json=body | more)


def test_sharing(api: Installation, tenant: str) -> None:
    admin, other = member(api, tenant, "tenant_admin"), member(api, None)
    stack = f"stack/{uuid.uuid4()}"
    assert other.http.get("/tenants").json() == []
    assert shared(api, tenant, admin, other, stack, "read", "update").status_code == 200
    # Now the tenant is visible, and entering it shows what was shared.
    assert [each["id"] for each in other.http.get("/tenants", params={"member_only": "True"}).json()] == [tenant]
    document = api.channel(tenant).get("/policy").json()
    assert document["principals"][str(other.id)]["shares"] == {stack: ["read", "update"]}
    listed = admin.http.get(f"/tenants/{tenant}/members").json()
    assert str(other.id) not in {each["id"] for each in listed}
    explained = other.http.get(
        "/access/explain", params={"tenant": tenant, "action": "update", "resource": stack}
    ).json()
    assert explained["allowed"] is True
    assert shared(api, tenant, admin, other, stack, "read").json()["actions"] == ["read"]
    assert shared(api, tenant, admin, other, stack).json()["actions"] == []
    assert shared(api, tenant, admin, other, stack).status_code == 200
    assert other.http.get("/tenants").json() == []


@pytest.mark.parametrize(
    ("resource", "actions", "status"),
    [
        (f"stack/{uuid.UUID(int=1)}", ["read"], 200),
        ("stack", ["read"], 422),
        ("nonsense!", ["read"], 422),
        (f"pipeline/{uuid.UUID(int=1)}", ["read"], 422),
        (f"{uuid.UUID(int=2)}:pipeline/{uuid.UUID(int=1)}", ["read", "share"], 200),
        (f"stack/{uuid.UUID(int=1)}", ["promote"], 422),
        (f"stack/{uuid.UUID(int=1)}", ["fly"], 422),
    ],
)
def test_what_can_be_shared(api: Installation, tenant: str, resource: str, actions: list[str], status: int) -> None:
    admin, other = member(api, tenant, "tenant_admin"), member(api, None)
    assert shared(api, tenant, admin, other, resource, *actions).status_code == status


def test_who_may_share_with_whom(api: Installation, tenant: str) -> None:
    admin, viewer = member(api, tenant, "tenant_admin"), member(api, tenant, "tenant_viewer")
    stack = f"stack/{uuid.uuid4()}"
    refused = shared(api, tenant, viewer, admin, stack, "read")
    assert refused.status_code == 403
    assert set(refused.json()) >= {"error", "detail"}
    # Whoever made something may share it; only the tenant's own database knows who did.
    assert shared(api, tenant, viewer, admin, stack, "read", "update", owned=True).status_code == 200
    assert shared(api, tenant, admin, admin, stack, "read").status_code == 422
    outsider = api.user(f"out{uuid.uuid4().hex[:6]}")
    assert shared(api, tenant, admin, outsider, stack, "read").status_code == 404
    assert shared(api, tenant, outsider, admin, stack, "read", owned=True).status_code == 403
    assert shared(api, tenant, admin, viewer, stack, "read", user_id=None).status_code == 422
    assert shared(api, tenant, admin, viewer, stack, "read", team_id=str(uuid.uuid4())).status_code == 422
    unknown = shared(api, tenant, admin, viewer, stack, "read", user_id=None, team_id=str(uuid.uuid4()))
    assert unknown.status_code == 404
    assert shared(api, tenant, admin, viewer, stack, "read", user_id=str(uuid.uuid4())).status_code == 404


def test_shares_end_with_the_resource_and_with_its_project(api: Installation, tenant: str) -> None:
    admin, other = member(api, tenant, "tenant_admin"), member(api, None)
    project = uuid.uuid4()
    names = [
        f"stack/{uuid.uuid4()}",
        f"{project}:pipeline/{uuid.uuid4()}",
        f"project/{project}",
        f"stack/{uuid.uuid4()}",
    ]
    for name in names:
        assert shared(api, tenant, admin, other, name, "read").status_code == 200

    def left() -> set[str]:
        with api.database.read() as db:
            return set(db.scalars(select(Share.resource).where(Share.tenant_id == uuid.UUID(tenant))))

    assert left() == set(names)
    with reading(api, tenant) as reader:
        eventually(lambda: reader.policy)
        deleted = {"seq": 1, "time": 1.0, "kind": "resources_deleted", "resources": [names[0]]}
        assert api.channel(tenant).post("/events", json={"events": [deleted]}).status_code == 200
        assert left() == set(names[1:])
        deleted = {"seq": 2, "time": 1.0, "kind": "resources_deleted", "resources": [f"project/{project}", 7]}
        assert api.channel(tenant).post("/events", json={"events": [deleted]}).status_code == 200
        assert left() == {names[3]}
        eventually(lambda: set(reader.policy["principals"][str(other.id)]["shares"]) == {names[3]})


def test_streams_end_at_shutdown(tmp_path_factory: pytest.TempPathFactory) -> None:
    with installation(tmp_path_factory.mktemp("data")) as own:
        admin = own.user("root", superuser=True)
        assert admin.http.post("/organizations", json={"name": "acme"}).status_code == 201
        tenant_id = admin.http.post("/tenants", json={"name": "one", "organization": "acme"}).json()["id"]
        readers = [Reader(own.channel(tenant_id)) for _ in range(3)]
        for reader in readers:
            eventually(lambda reader=reader: reader.messages)
        stopped = time.perf_counter()
    assert all(reader.ended.wait(5) for reader in readers)
    assert time.perf_counter() - stopped < 5
