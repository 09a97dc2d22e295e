"""The reconciler with runtimes that are instant, slow, dying, lying and absent, and killed at every step."""

import datetime as dt
import json
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from nagaya.audit.models import AuditEvent
from nagaya.db.base import utc_now
from nagaya.tenants.models import Tenant
from tests.api.tenants.installation import Actor, Installation, eventually, installation, ready
from tests.api.tenants.runtimes import AbsentRuntime, DyingRuntime, InstantRuntime, LyingRuntime, SlowRuntime


def prepared(api: Installation) -> Actor:
    root = api.user("root", superuser=True)
    assert root.http.post("/organizations", json={"name": "acme"}).status_code == 201
    return root


def made(root: Actor, name: str = "one", **body: Any) -> dict[str, Any]:
    answer = root.http.post("/tenants", json={"name": name, "organization": "acme", "protected": False, **body})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_whole_life(tmp_path: Path) -> None:
    with installation(tmp_path) as api:
        root = prepared(api)
        tenant_id = made(root)["id"]
        ready(root, tenant_id)
        assert root.http.patch(f"/tenants/{tenant_id}/deactivate").json()["status"] == "pending"
        body = ready(root, tenant_id, "deactivated")
        assert body["zenml_service"]["status"] is None
        assert root.http.patch(f"/tenants/{tenant_id}/deploy").status_code == 200
        ready(root, tenant_id)
        assert root.http.delete(f"/tenants/{tenant_id}").status_code == 200
        body = ready(root, tenant_id, "deleted")
        assert body["purge_after"] is not None
        assert root.http.get("/tenants").json() == []
        assert [each["id"] for each in root.http.get("/tenants", params={"status": "deleted"}).json()] == [tenant_id]
        taken = root.http.post("/tenants", json={"name": "one", "organization": "acme"})
        assert taken.status_code == 409
        assert "can be restored until" in taken.json()["detail"]
        assert root.http.post(f"/tenants/{tenant_id}/restore").status_code == 200
        ready(root, tenant_id)
        assert root.http.delete(f"/tenants/{tenant_id}").status_code == 200
        ready(root, tenant_id, "deleted")
        api.offset = dt.timedelta(days=8)
        eventually(lambda: root.http.get(f"/tenants/{tenant_id}").status_code == 404)
        assert api.runtime.purged == [tenant_id]
        row = api.tenant(tenant_id)
        assert row.jwt_secret == ""
        assert made(root)["id"] != tenant_id
        with api.database.read() as db:
            actions = set(db.scalars(select(AuditEvent.action).where(AuditEvent.tenant_id == row.id)))
        assert actions == {
            "tenant.create",
            "tenant.ready",
            "tenant.deactivate",
            "tenant.stopped",
            "tenant.deploy",
            "tenant.delete",
            "tenant.removed",
            "tenant.restore",
            "tenant.purge",
        }


def test_the_runtime_hears_of_a_new_tenant_at_once(tmp_path: Path) -> None:
    with installation(tmp_path) as api:
        root = prepared(api)
        ready(root, made(root, "warm")["id"])
        taken = []
        for number in range(5):
            tenant_id = made(root, f"t{number}")["id"]
            answered = time.perf_counter()
            ready(root, tenant_id)
            applied = next(at for at, method, each in api.runtime.calls if method == "apply" and each == tenant_id)
            taken.append((applied - answered) * 1000)
        print(f"keeper.apply after the answer to POST /tenants, ms: {[round(each, 1) for each in taken]}")
        assert min(taken) < 500


def test_policy_is_stored_before_the_first_start(tmp_path: Path) -> None:
    with installation(tmp_path) as api:
        root = prepared(api)
        tenant_id = made(root)["id"]
        ready(root, tenant_id)
        methods = [method for _, method, each in api.runtime.calls if each == tenant_id]
        assert methods.index("policy") < methods.index("apply") < methods.index("wake")


def test_a_slow_start_is_pending_until_it_is_done(tmp_path: Path) -> None:
    with installation(tmp_path, SlowRuntime, lease_seconds=0.6) as api:
        root = prepared(api)
        body = made(root)
        operation = body["operation"]["id"]

        def spawning() -> bool:
            phases = root.http.get(f"/operations/{operation}").json()["phases"]
            return {each["name"]: each["status"] for each in phases}["spawning"] == "running"

        eventually(spawning)
        first = api.tenant(body["id"]).lease_until
        assert first is not None
        # The lease is renewed for as long as the work goes on.
        eventually(lambda: (api.tenant(body["id"]).lease_until or first) > first)
        assert root.http.get(f"/tenants/{body['id']}").json()["status"] == "pending"
        assert isinstance(api.runtime, SlowRuntime)
        api.loop.call_soon_threadsafe(api.runtime.released.set)
        ready(root, body["id"])
        assert api.tenant(body["id"]).lease_owner is None


def test_a_dying_tenant_fails_with_the_reason_and_is_retried_by_deploy(tmp_path: Path) -> None:
    with installation(tmp_path, DyingRuntime) as api:
        root = prepared(api)
        tenant_id = made(root)["id"]
        body = ready(root, tenant_id, "failed")
        assert "signal 9" in body["state_reason"]
        assert "signal 9" in body["operation"]["error"]
        assert body["operation"]["status"] == "failed"
        assert isinstance(api.runtime, DyingRuntime)
        api.runtime.healed = True
        assert root.http.patch(f"/tenants/{tenant_id}/deploy").status_code == 200
        body = ready(root, tenant_id)
        assert body["state_reason"] == ""


def test_lies_change_nothing(tmp_path: Path) -> None:
    with installation(tmp_path, LyingRuntime) as api:
        root = prepared(api)
        tenant_id = made(root)["id"]
        ready(root, tenant_id)
        api.run(lambda: api.runtime.report(tenant_id, "asleep"))
        eventually(lambda: root.http.get(f"/tenants/{tenant_id}").json()["activity"] == "asleep")
        body = root.http.get(f"/tenants/{tenant_id}").json()
        assert (body["status"], body["desired_state"], body["state_reason"]) == ("available", "available", "")


def test_an_absent_runtime_is_waited_for(tmp_path: Path) -> None:
    with installation(tmp_path, AbsentRuntime, default_engine="0.98.0") as api:
        root = prepared(api)
        tenant_id = made(root)["id"]
        waiting = eventually(lambda: root.http.get(f"/tenants/{tenant_id}").json()["state_reason"])
        assert "does not answer" in waiting
        assert root.http.get(f"/tenants/{tenant_id}/logs").status_code == 503
        refused = root.http.post("/tenants", json={"name": "two", "organization": "acme", "version": "0.94.6"})
        assert refused.status_code == 503
        assert isinstance(api.runtime, AbsentRuntime)
        api.runtime.present = True
        ready(root, tenant_id)
        assert root.http.get(f"/tenants/{tenant_id}/logs", params={"lines": 2}).json()["lines"] == ["line 0", "line 1"]


def test_a_crash_loop_later_is_shown_and_healing_too(tmp_path: Path) -> None:
    with installation(tmp_path) as api:
        root = prepared(api)
        tenant_id = made(root)["id"]
        ready(root, tenant_id)
        api.run(lambda: api.runtime.report(tenant_id, "failed", "out of memory"))
        body = ready(root, tenant_id, "failed")
        assert body["state_reason"] == "out of memory"
        api.run(lambda: api.runtime.report(tenant_id, "awake"))
        ready(root, tenant_id)


def test_settings_that_matter_reach_the_runtime(tmp_path: Path) -> None:
    with installation(tmp_path) as api:
        root = prepared(api)
        tenant_id = made(root)["id"]
        ready(root, tenant_id)
        before = api.runtime.specs[tenant_id].generation
        assert root.http.patch(f"/tenants/{tenant_id}", json={"description": "x"}).status_code == 200
        assert (
            root.http.patch(f"/tenants/{tenant_id}", json={"hibernate": False, "idle_seconds": 60}).status_code == 200
        )
        eventually(lambda: api.runtime.specs[tenant_id].hibernate is False)
        assert api.runtime.specs[tenant_id].idle_seconds == 60
        assert api.runtime.specs[tenant_id].generation == before + 1
        eventually(lambda: api.tenant(tenant_id).applied_generation == before + 1)


class Killed(BaseException):
    """The process ends here."""


STEPS = ("policy", "applied", "ready", "concluded", "purged", "leased")


@pytest.mark.parametrize("step", ["policy", "applied", "ready", "concluded"])
@pytest.mark.parametrize("act", ["create", "deactivate", "delete"])
def test_killed_at_any_step_the_next_process_finishes(tmp_path: Path, step: str, act: str) -> None:
    fuse = {"armed": act == "create"}

    def checkpoint(reached: str) -> None:
        if fuse["armed"] and reached == step:
            raise Killed

    runtime = InstantRuntime()
    with installation(tmp_path, keep=runtime, checkpoint=checkpoint, lease_seconds=0.5) as api:
        root = prepared(api)
        tenant_id = made(root)["id"]
        if act != "create":
            ready(root, tenant_id)
            fuse["armed"] = True
            method = "PATCH" if act == "deactivate" else "DELETE"
            path = f"/tenants/{tenant_id}" + ("/deactivate" if act == "deactivate" else "")
            assert root.http.request(method, path).status_code == 200
        time.sleep(0.1)  # Long enough for the step in most runs; whatever was not reached is done by the next process.
    runtime._listeners.clear()
    with installation(tmp_path, keep=runtime, lease_seconds=0.5) as api:
        with api.database.write() as db:
            db.execute(update(Tenant).values(updated=Tenant.updated))
            db.commit()
        again = api.user("other", superuser=True)
        wanted = {"create": "available", "deactivate": "deactivated", "delete": "deleted"}[act]
        ready(again, tenant_id, wanted)
        with api.database.read() as db:
            assert db.scalar(select(func.count()).select_from(Tenant)) == 1


def test_two_processes_do_not_do_the_same_work(tmp_path: Path) -> None:
    runtime = InstantRuntime()
    with installation(tmp_path, keep=runtime) as first:
        root = prepared(first)
        with installation(tmp_path, keep=runtime) as second:
            ids = [made(root, f"t{number}")["id"] for number in range(6)]
            for tenant_id in ids:
                ready(root, tenant_id)
            for tenant_id in ids:
                wakes = [each for _, method, each in runtime.calls if method == "wake" and each == tenant_id]
                assert len(wakes) == 1
            # A change that only the other process took is delivered there as well, by the signal.
            assert root.http.patch(f"/tenants/{ids[0]}", json={"idle_seconds": 77}).status_code == 200
            eventually(lambda: runtime.specs[ids[0]].idle_seconds == 77)
            assert second.control.hub is not first.control.hub


def test_a_thousand_tenants_are_compiled_in_time(tmp_path: Path) -> None:
    with installation(tmp_path, AbsentRuntime, default_engine="0.98.0") as api:
        root = prepared(api)
        template = made(root)
        with api.database.write() as db:
            known = db.get(Tenant, api.tenant(template["id"]).id)
            assert known is not None
            columns = {
                column.key: getattr(known, column.key) for column in Tenant.__table__.columns if column.key != "id"
            }
            for number in range(1000):
                values = columns | {"name": f"many-{number}", "status": "available", "applied_generation": 9}
                db.add(Tenant(**values))
            db.commit()
        people = [api.user(f"user{number}") for number in range(20)]
        for each in people:
            api.give(each, "organization_viewer", "acme")
        started = time.perf_counter()
        answer = root.http.post("/organizations/acme/members", json={"user": api.user("late").username})
        assert answer.status_code == 201
        posted = time.perf_counter() - started
        with api.database.read() as db:
            ids = list(db.scalars(select(Tenant.id)))
        started = time.perf_counter()
        documents = api.run(lambda: api.control.publisher.compile(ids))
        compiled = time.perf_counter() - started
        print(f"1,001 tenants: member added in {posted * 1000:.0f} ms, policies compiled in {compiled * 1000:.0f} ms")
        assert len(documents) == 1001
        assert compiled < 10
        assert len(json.dumps(next(iter(documents.values())))) < 20_000


def test_the_sweep_forgets_old_signals(tmp_path: Path) -> None:
    from nagaya.db.signals import Signal  # noqa: PLC0415

    with installation(tmp_path) as api:
        root = prepared(api)
        ready(root, made(root)["id"])
        with api.database.write() as db:
            db.execute(update(Signal).values(created=utc_now() - dt.timedelta(hours=2)))
            db.commit()

        def empty() -> bool:
            with api.database.read() as db:
                return db.scalar(select(func.count()).select_from(Signal)) == 0

        eventually(empty)
