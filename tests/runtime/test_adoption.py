"""The keeper is killed at any moment: the next one finds everything and makes it whole."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nagaya.runtime.interface import RuntimeFailure
from nagaya.runtime.local.processes import ProcessIdentity, kill_and_wait
from tests.runtime.support import KeeperProcess, alive, ask, running_keeper, wait_for


def restart(keeper: KeeperProcess) -> None:
    keeper.kill()
    keeper.start()
    keeper.call("hello")


def wake_in_vain(keeper: KeeperProcess, tenant: str) -> None:
    with pytest.raises(RuntimeFailure):
        keeper.call("wake", id=tenant)


def test_living_tenants_and_zygotes_are_adopted(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    awake = keeper.call("wake", id=tenant)
    zygote = keeper.call("hello")["engines"][0]["zygote_pid"]
    restart(keeper)
    assert keeper.state(tenant)["pid"] == awake["pid"]
    assert keeper.call("hello")["engines"][0]["zygote_pid"] == zygote
    assert ask(awake["socket"]) == str(awake["pid"]).encode()
    keeper.check_invariants()
    keeper.call("sleep", id=tenant)
    again = keeper.call("wake", id=tenant)
    assert again["socket"] != awake["socket"], "after an adoption the socket is a new one"
    assert ask(again["socket"]) == str(again["pid"]).encode()
    keeper.check_invariants()


def test_sleeping_tenants_are_left_as_they_are(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    keeper.call("wake", id=tenant)
    keeper.call("sleep", id=tenant)
    record = keeper.config.keeper_dir / "tenants" / tenant / "state.json"
    before, written = keeper.state(tenant), record.stat()
    restart(keeper)
    assert keeper.state(tenant)["socket"] == before["socket"]
    assert (record.stat().st_ino, record.stat().st_mtime_ns) == (written.st_ino, written.st_mtime_ns)
    keeper.check_invariants()
    assert ask(before["socket"]) == str(keeper.wait_state(tenant, "awake")["pid"]).encode()
    restart(keeper)
    assert keeper.state(tenant)["state"] == "awake", "the record was written again when there was something to write"


def test_an_adopted_tenant_that_crashes_comes_back(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    pid = keeper.call("wake", id=tenant)["pid"]
    restart(keeper)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: keeper.state(tenant)["pid"] not in (None, pid))
    keeper.check_invariants()


def test_one_that_died_unseen_is_started_again(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    pid = keeper.call("wake", id=tenant)["pid"]
    keeper.kill()
    os.kill(pid, signal.SIGKILL)
    keeper.start()
    assert keeper.wait_state(tenant, "awake")["pid"] != pid
    keeper.check_invariants()


def test_a_process_of_the_same_number_is_not_taken_for_the_tenant(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    pid = keeper.call("wake", id=tenant)["pid"]
    keeper.call("sleep", id=tenant)
    keeper.kill()
    path = keeper.config.keeper_dir / "tenants" / tenant / "state.json"
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    for forged in (own.to_json() | {"start": own.start + 1}, own.to_json() | {"boot": "another"}, {"pid": pid}):
        path.write_text(json.dumps({"state": "awake", "process": forged, "socket_generation": 1}))
        keeper.start()
        assert keeper.state(tenant)["pid"] != os.getpid()
        keeper.kill()
    keeper.start()
    keeper.check_invariants()


def test_a_start_that_nobody_recorded_is_found_and_ended(place: Path) -> None:
    with running_keeper(place, ready_timeout=60.0) as keeper:
        keeper.engine.behave(tenant="mute")
        tenant = keeper.create()
        waiting = threading.Thread(target=wake_in_vain, args=(keeper, tenant))
        waiting.start()
        orphan = wait_for(keeper.tenants)
        keeper.kill()
        path = keeper.config.keeper_dir / "tenants" / tenant / "state.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"process": None}))
        keeper.engine.behave()
        keeper.start()
        waiting.join(10)
        assert keeper.wait_state(tenant, "awake")["pid"] not in orphan
        assert not any(alive(pid) for pid in orphan)
        keeper.check_invariants()


def test_damaged_records_do_not_stop_the_others(keeper: KeeperProcess) -> None:
    broken, whole, cut = keeper.create(), keeper.create(), keeper.create()
    pid = keeper.call("wake", id=whole)["pid"]
    keeper.kill()
    records = keeper.config.keeper_dir / "tenants"
    (records / broken / "spec.json").write_text('{"id": 1}')
    (records / cut / "state.json").write_text("{")
    keeper.start()
    assert keeper.state(whole)["pid"] == pid
    assert keeper.state(cut)["state"] == "asleep"
    assert "damaged" in keeper.state(broken)["reason"]
    assert keeper.call("apply", spec=keeper.spec(id=broken))["state"] == "asleep"
    assert keeper.call("wake", id=broken)["pid"]


def test_a_removal_that_was_begun_is_finished(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    keeper.call("wake", id=tenant)
    keeper.kill()
    (keeper.config.keeper_dir / "tenants" / tenant / "purge").touch()
    keeper.start()
    assert keeper.call("list") == []
    assert keeper.tenants() == set()
    assert not (keeper.config.data_dir / "tenants" / tenant).exists()


def test_killed_at_random_moments_it_always_heals(place: Path) -> None:
    chance = random.Random(os.environ.get("NAGAYA_TEST_SEED", "7"))
    with running_keeper(place, failure_limit=100) as keeper:
        tenants = [keeper.create() for _ in range(4)]
        ended = threading.Event()

        def trouble() -> None:
            while not ended.is_set():
                tenant, method = chance.choice(tenants), chance.choice(["wake", "wake", "sleep", "restart"])
                try:
                    keeper.call(method, id=tenant)
                except RuntimeFailure:
                    ended.wait(0.01)

        threads = [threading.Thread(target=trouble) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(12):
            time.sleep(chance.uniform(0.05, 0.5))  # The moments are the point.
            victims = [{keeper.process.pid} if keeper.process else set(), keeper.tenants(), keeper.zygotes()]
            victim = chance.choice([pids for pids in victims if pids])
            if keeper.process is not None and keeper.process.pid in victim:
                keeper.kill()
                keeper.start()
            else:
                for pid in victim:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
        ended.set()
        for thread in threads:
            thread.join(40)
        for tenant in tenants:
            assert keeper.call("wake", id=tenant)["pid"]
        keeper.check_invariants()
        assert len(keeper.tenants()) == 4


@pytest.mark.skipif(os.geteuid() != 0, reason="without root tenants have no users of their own")
def test_what_tenants_left_behind_without_a_keeper_ends_but_not_what_belongs_to_another(keeper: KeeperProcess) -> None:
    tenant, awake = keeper.create(), keeper.create()
    keeper.call("wake", id=tenant)
    living = keeper.call("wake", id=awake)["pid"]
    keeper.call("sleep", id=tenant)
    uids = json.loads((keeper.config.keeper_dir / "uids.json").read_text())["assigned"]
    keeper.kill()
    start = "import subprocess, sys; print(subprocess.Popen(['sleep', '60'], user=int(sys.argv[1])).pid, flush=True)"
    disguise = ["nagaya_tenant.plain", "/etc/passwd"]
    orphan = subprocess.Popen(["sh", "-c", "while :; do sleep 60; done", *disguise], user=uids[tenant])
    child = subprocess.Popen(["sleep", "60"], user=uids[awake])
    zygote = subprocess.Popen(
        [sys.executable, "-c", f"{start}; sys.stdin.read()", str(uids[tenant]), "nagaya_tenant.zygote", "/elsewhere/z"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert zygote.stdout is not None
    others = int(zygote.stdout.readline())
    try:
        keeper.start()
        keeper.call("hello")
        assert orphan.wait(timeout=10) == -signal.SIGKILL
        assert child.poll() is None, "it belongs to a tenant that runs"
        assert alive(others), "it belongs to another platform"
        assert keeper.state(awake)["pid"] == living
    finally:
        for process in (orphan, child):
            process.kill()
            process.wait()
        os.kill(others, signal.SIGKILL)
        zygote.communicate()


def test_zygotes_are_started_before_tenants_are_adopted(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    keeper.engine.behave(tenant="stubborn")
    pid = keeper.call("wake", id=tenant)["pid"]
    keeper.kill()
    # The next keeper has to end this one, which takes the whole time limit; only then it answers.
    record = keeper.config.keeper_dir / "tenants" / tenant / "state.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"state": "stopping"}))
    kill_and_wait(keeper.zygotes())
    keeper.start()
    wait_for(keeper.zygotes)
    assert alive(pid), "the zygote had to wait for the tenant"
    assert keeper.wait_state(tenant, "asleep", "awake")["pid"] != pid


def test_only_use_that_this_keeper_saw_is_reported(keeper: KeeperProcess) -> None:
    tenant, other = keeper.create(), keeper.create(tenant="other")
    keeper.call("wake", id=tenant)
    assert keeper.state(tenant)["last_activity"] == pytest.approx(time.time(), abs=10)
    restart(keeper)
    assert (keeper.state(tenant)["last_activity"], keeper.state(other)["last_activity"]) == (None, None)
    keeper.call("wake", id=other)
    assert keeper.state(other)["last_activity"] == pytest.approx(time.time(), abs=10)
