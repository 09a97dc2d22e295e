"""A database that goes away while the api works: clear answers, nothing half-done, and everything goes on by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Connection, event, func, select, text

from harness.postgres import PostgresServer
from nagaya.audit.models import AuditEvent
from nagaya.db.engine import Database
from nagaya.organizations.models import Organization
from tests import databases
from tests.api.tenants.installation import Actor, Installation, eventually, installation, ready
from tests.api.tenants.test_channel import reading

RECOVERY_SECONDS = 15.0
"""Longer than it takes, which is about two seconds: the machine may be busy."""


@pytest.fixture(name="vanishing")
def fixture_vanishing() -> Iterator[PostgresServer]:
    """A server that only this test uses."""
    databases.server()  # Skips the test where there is no PostgreSQL.
    # A crash must not lose what was committed: the test compares answers with what is stored.
    with PostgresServer(synchronous_commit="on") as server:
        yield server


def made(api: Installation) -> tuple[Actor, str]:
    root = api.user("root", superuser=True)
    assert root.http.post("/organizations", json={"name": "acme"}).status_code == 201
    tenant = root.http.post("/tenants", json={"name": "staging", "organization": "acme"}).json()["id"]
    ready(root, tenant)
    return root, tenant


def test_a_server_that_vanishes(tmp_path: Path, vanishing: PostgresServer, capfd: pytest.CaptureFixture[str]) -> None:
    url = vanishing.url(vanishing.create())
    with installation(tmp_path, database=url) as api:
        root, tenant = made(api)
        stop = threading.Event()
        statuses: list[int] = []
        created: list[str] = []

        def hammer(worker: int) -> None:
            number = 0
            while not stop.is_set():
                number += 1
                answer = root.http.post("/organizations", json={"name": f"o{worker}-x{number}"})
                statuses.append(answer.status_code)
                if answer.status_code == 201:
                    created.append(answer.json()["name"])

        with reading(api, tenant) as reader, ThreadPoolExecutor(3) as pool:
            eventually(lambda: reader.policy)
            workers = [pool.submit(hammer, worker) for worker in range(3)]
            eventually(lambda: len(created) >= 5)
            vanishing.stop("SIGQUIT")
            eventually(lambda: statuses.count(503) >= 5)
            stop.set()
            for worker in workers:
                worker.result(30)
            capfd.readouterr()
            refused(root)
            # What the runtime tells meanwhile is told only once.
            api.loop.call_soon_threadsafe(api.runtime.report, tenant, "failed", "out of memory")
            time.sleep(3)  # Long enough for a loop that spins to be seen in the log.
            noise = [line for line in capfd.readouterr().err.splitlines() if "Traceback" in line or "exception" in line]
            assert noise == []
            assert not reader.ended.is_set()
            vanishing.start()
            began = time.monotonic()
            eventually(lambda: root.http.get("/organizations").status_code == 200, RECOVERY_SECONDS)
            eventually(lambda: root.http.get(f"/tenants/{tenant}").json()["status"] == "failed", RECOVERY_SECONDS)
            who = api.user("late")
            body = {"user": "late", "roles": ["organization_admin"]}
            assert root.http.post("/organizations/acme/members", json=body).status_code == 201
            eventually(lambda: str(who.id) in reader.policy["principals"], RECOVERY_SECONDS)
            print(f"everything works {time.monotonic() - began:.1f} s after the server is back")
        assert set(statuses) <= {201, 503}
        with api.database.read() as db:
            names = set(db.scalars(select(Organization.name).where(Organization.name != "acme")))
            events = select(func.count()).select_from(AuditEvent).where(AuditEvent.action == "organization.create")
            assert db.scalar(events) == len(names) + 1
        # An answer may be lost with the connection after the commit; one that was given is true.
        assert set(created) <= names
        assert len(names) - len(created) <= 3


def refused(root: Actor) -> None:
    """Requests are refused at once, with one sentence and when to come back."""
    for method, path in (("GET", "/organizations"), ("POST", "/organizations"), ("GET", "/tenants")):
        body = {"name": "too-late"} if method == "POST" else None
        began = time.monotonic()
        answer: httpx.Response = root.http.request(method, path, json=body)
        assert time.monotonic() - began < 10
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert answer.json()["error"] == "Unavailable"
        assert answer.json()["detail"] == "The database does not answer at the moment; try again shortly."


def test_idle_connections_that_the_server_ended_are_replaced(tmp_path: Path, server: PostgresServer) -> None:
    name = server.create()
    with installation(tmp_path, database=server.url(name)) as api:
        root, _ = made(api)
        server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        assert root.http.get("/organizations").status_code == 200
        assert root.http.post("/organizations", json={"name": "second"}).status_code == 201
    server.drop(name)


def test_a_writer_that_hangs_does_not_block_others_for_ever(
    tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nagaya.db.engine.IDLE_TRANSACTION_SECONDS", 1)
    name = server.create()
    with installation(tmp_path, database=server.url(name)) as api:
        root, _ = made(api)
        other = Database(server.url(name))
        hanging = other.write()
        hanging.scalar(select(func.count()).select_from(Organization))
        began = time.monotonic()
        assert root.http.post("/organizations", json={"name": "second"}).status_code == 201
        assert time.monotonic() - began > 0.5
        hanging.invalidate()
        other.close()
    server.drop(name)


def test_a_locked_sqlite_is_waited_for_and_then_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nagaya.db.engine.TURN_SECONDS", 1)
    monkeypatch.setattr(databases, "CHOSEN", "sqlite")
    with installation(tmp_path, database=f"sqlite:///{tmp_path}/control.db") as api:
        root, _ = made(api)
        other = Database(api.database.url)
        holder = other.write()
        holder.scalar(select(func.count()).select_from(Organization))
        assert root.http.get("/organizations").status_code == 200
        answer = root.http.post("/organizations", json={"name": "second"})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
        holder.close()
        other.close()
        assert root.http.post("/organizations", json={"name": "second"}).status_code == 201


def test_a_full_disk_refuses_changes_and_nothing_else(tmp_path: Path) -> None:
    with installation(tmp_path, database=f"sqlite:///{tmp_path}/control.db") as api:
        root, _ = made(api)
        full = Database(api.database.url)
        with full.read() as db:
            room = (db.scalar(text("PRAGMA page_count")) or 0) + 10

        def no_room(connection: Connection) -> None:
            connection.exec_driver_sql(f"PRAGMA max_page_count = {room}")

        event.listen(api.database.engine, "begin", no_room)
        answers = [
            root.http.post("/organizations", json={"name": f"big-{number}", "description": "x" * 4000})
            for number in range(30)
        ]
        assert {answer.status_code for answer in answers} == {201, 503}
        assert root.http.get("/organizations").status_code == 200
        event.remove(api.database.engine, "begin", no_room)
        api.database.engine.dispose()
        with full.read() as db:
            stored = db.scalar(select(func.count()).select_from(Organization).where(Organization.name.like("big-%")))
        assert stored == [answer.status_code for answer in answers].count(201)
        full.close()
