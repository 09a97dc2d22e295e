"""Two api processes on one PostgreSQL: no doubled work, one of them killed, changes of one known to the other."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from harness.postgres import PostgresServer
from nagaya.audit.models import AuditEvent
from nagaya.db.engine import Database
from nagaya.operations.models import Operation
from nagaya.tenants.models import Tenant
from tests.api.tenants.installation import Actor, Installation, eventually, installation, ready
from tests.api.tenants.runtimes import InstantRuntime

ROOT = Path(__file__).resolve().parents[2]
TENANTS = 24


@pytest.fixture(name="url")
def fixture_url(server: PostgresServer) -> Iterator[str]:
    name = server.create()
    yield server.url(name)
    server.drop(name)


class ApiProcess:
    """A real process with an api."""

    def __init__(self, directory: Path, url: str, record: Path) -> None:
        command = [sys.executable, "-m", "tests.database.api_process", str(directory), url, str(record)]
        environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.pid = self._process.pid
        assert self._process.stdout is not None
        self.url = f"{json.loads(self._process.stdout.readline())['api']}/api/v1"

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.communicate(timeout=20)

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(timeout=30)


@contextlib.contextmanager
def prepared(directory: Path, url: str) -> Iterator[tuple[Actor, Database]]:
    """An installation with an administrator and an organization, and its database."""
    with installation(directory, database=url) as first:
        root = first.user("root", superuser=True)
        assert root.http.post("/organizations", json={"name": "acme"}).status_code == 201
        headers = dict(root.http.headers)
        database = Database(url)
        with httpx.Client(headers=headers, timeout=30) as client:
            yield Actor(root.id, root.username, root.session_id, client), database
        database.close()


def insist(root: Actor, processes: list[ApiProcess], method: str, path: str, **arguments: Any) -> Any:
    """Sends a request to whichever process takes it, as a client behind a balancer does, until it is answered."""
    for process in [*processes, *reversed(processes), *processes]:
        with contextlib.suppress(httpx.TransportError):
            answer = root.http.request(method, f"{process.url}{path}", **arguments)
            if answer.status_code < 500:
                return answer
            time.sleep(0.05)
    raise AssertionError(f"nobody answered {method} {path}")


def test_each_tenant_is_made_once_although_one_process_is_killed(tmp_path: Path, url: str) -> None:
    record = tmp_path / "calls"
    with prepared(tmp_path / "data", url) as (root, _database):
        # What prepared the rows must not do the work.
        pass
    with httpx.Client(headers=dict(root.http.headers), timeout=30) as client, contextlib.ExitStack() as stack:
        root = Actor(root.id, root.username, root.session_id, client)
        first, second = (ApiProcess(tmp_path / "data", url, record) for _ in range(2))
        stack.callback(second.close)

        def create(number: int) -> set[str]:
            """Sends the same request to both, with one key, beginning with one or the other."""
            order = [first, second] if number % 2 else [second, first]
            body = {"name": f"tenant-{number}", "organization": "acme"}
            headers = {"Idempotency-Key": f"key-{number}"}
            answers = [
                insist(root, processes, "POST", "/tenants", json=body, headers=headers)
                for processes in (order, order[::-1])
            ]
            if number == TENANTS // 3:
                first.kill()
            assert {answer.status_code for answer in answers} == {201}, [answer.text for answer in answers]
            return {answer.json()["id"] for answer in answers}

        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(create, range(TENANTS)))
        assert all(len(ids) == 1 for ids in made)
        ids = [next(iter(each)) for each in made]

        def status(tenant_id: str) -> str:
            found: dict[str, Any] = insist(root, [second], "GET", f"/tenants/{tenant_id}").json()
            return str(found["status"])

        for tenant_id in ids:
            eventually(lambda tenant_id=tenant_id: status(tenant_id) == "available", 40)  # type: ignore[misc]
        for tenant_id in ids[:4]:
            answer = insist(root, [second], "PATCH", f"/tenants/{tenant_id}", json={"protected": False})
            assert answer.status_code == 200
            assert insist(root, [second], "DELETE", f"/tenants/{tenant_id}").status_code == 200
        for tenant_id in ids[:4]:
            eventually(lambda tenant_id=tenant_id: status(tenant_id) == "deleted")  # type: ignore[misc]
    check(Database(url), ids, record, second.pid)


def check(database: Database, ids: list[str], record: Path, survivor: int) -> None:
    """One row, one operation and one event for each tenant; each process started each tenant once at the most."""
    with database.read() as db:
        assert {str(each) for each in db.scalars(select(Tenant.id))} == set(ids)
        creations = db.scalars(select(Operation).where(Operation.kind == "create")).all()
        assert Counter(str(each.tenant_id) for each in creations) == Counter(ids)
        assert {each.status for each in creations} == {"succeeded"}
        for action in ("tenant.create", "tenant.ready"):
            condition = AuditEvent.action == action
            assert db.scalar(select(func.count()).select_from(AuditEvent).where(condition)) == len(ids)
    database.close()
    calls = Counter(tuple(json.loads(line)) for line in record.read_text().splitlines())
    wakes = {(pid, tenant): count for (pid, method, tenant), count in calls.items() if method == "wake"}
    assert set(wakes.values()) == {1}
    assert {tenant for _, tenant in wakes} == set(ids)
    both = [tenant for tenant, count in Counter(tenant for _, tenant in wakes).items() if count == 2]
    # Only what the killed process had begun and not finished was begun once more, by the other one.
    assert len(both) <= 16
    assert all((survivor, tenant) in wakes for tenant in both)


def test_a_change_through_one_reaches_a_tenant_at_the_other(tmp_path: Path, url: str) -> None:
    from tests.api.tenants.test_channel import reading  # noqa: PLC0415

    runtime = InstantRuntime()
    with (
        installation(tmp_path, keep=runtime, database=url) as first,
        installation(tmp_path, keep=runtime, database=url) as second,
    ):
        root = first.user("root", superuser=True)
        assert root.http.post("/organizations", json={"name": "acme"}).status_code == 201
        tenant = root.http.post("/tenants", json={"name": "staging", "organization": "acme"}).json()["id"]
        ready(root, tenant)
        with reading(second, tenant) as reader:
            eventually(lambda: reader.policy)
            taken = [measured(first, root, reader) for _ in range(5)]
    print(f"from the answer of one process to the tenant at the other: {max(taken) * 1000:.0f} ms at the most")
    assert max(taken) < 1.0


def measured(api: Installation, root: Actor, reader: Any) -> float:
    """Makes somebody a member through one process; returns after how many seconds the tenant knows."""
    who = api.user(f"u{uuid.uuid4().hex[:10]}")
    body = {"user": who.username, "roles": ["organization_admin"]}
    assert root.http.post("/organizations/acme/members", json=body).status_code == 201
    begin = time.perf_counter()
    eventually(lambda: str(who.id) in reader.policy["principals"])
    return time.perf_counter() - begin


def test_a_key_is_honoured_by_both_at_the_same_moment(tmp_path: Path, url: str) -> None:
    runtime = InstantRuntime()
    with (
        installation(tmp_path, keep=runtime, database=url) as first,
        installation(tmp_path, keep=runtime, database=url) as second,
    ):
        root = first.user("root", superuser=True)
        assert root.http.post("/organizations", json={"name": "acme"}).status_code == 201
        clients = [root.http, second.client(root.http.headers["authorization"].removeprefix("Bearer "))]

        def create(number: int) -> Any:
            body = {"name": "one", "organization": "acme"}
            return clients[number % 2].post("/tenants", json=body, headers={"Idempotency-Key": "the-key"})

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(create, range(8)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
