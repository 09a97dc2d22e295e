"""A whole platform of real processes: starts, privileges, healing after kill -9 of anything, orderly stop."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nagaya.crypto import MasterKey
from nagaya.runtime.interface import RuntimeFailure
from nagaya.runtime.local.processes import ProcessIdentity
from nagaya.supervisor import control
from nagaya.supervisor.errors import SetupError
from nagaya.supervisor.main import unrecorded
from nagaya.supervisor.record import ServiceRecord, SupervisorRecord
from tests.runtime.support import alive, ask, wait_for
from tests.supervisor.support import Platform, platform_config, running_platform


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not alive(pid))


def test_what_a_supervisor_started_and_could_not_record_is_ended_by_the_next(platform: Platform) -> None:
    before = {name: platform.pid(name) for name in ("gateway", "api", "keeper")}
    service = [*platform.config.commands["gateway"], str(platform.config.path)]
    with subprocess.Popen(service, env={"NAGAYA_SOCKETS": "{}"}, stdout=subprocess.DEVNULL) as left:
        kill(platform.pid("supervisor"))
        assert left.wait(timeout=20) == -signal.SIGKILL
    platform.pid("supervisor")
    assert {name: platform.pid(name) for name in before} == before


def test_what_was_not_recorded_is_found_below_a_recorded_process_too(place: Path) -> None:
    config = platform_config(place)
    ending = [*config.commands["gateway"], str(config.path)][-2:]
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", *ending]) as orphan:
        try:
            # The keeper becomes the parent of what its supervisor leaves; this process stands for the keeper.
            wait_for(lambda: orphan.pid in unrecorded(config, frozenset({os.getpid()})))
            assert orphan.pid not in unrecorded(config, frozenset({orphan.pid}))
        finally:
            orphan.kill()


def test_up_waits_until_every_process_is_recorded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = platform_config(place)
    config.run_dir.mkdir(parents=True)
    monkeypatch.setattr(control, "is_ready", lambda _: True)
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    record = SupervisorRecord(own, services={"api": ServiceRecord(own), "gateway": ServiceRecord(None)})
    record.write(config)
    with pytest.raises(SetupError, match="does not answer"):
        control.wait_ready(config, None, timeout=0.2)
    record.services["gateway"] = ServiceRecord(own)
    record.write(config)
    control.wait_ready(config, None, timeout=0.2)


def test_it_serves_and_stops_in_order(platform: Platform) -> None:
    status = control.status(platform.config)
    assert (status["running"], status["ready"], status["state"]) == (True, True, "running")
    assert {item["name"] for item in status["processes"] if item["pid"]} == {"keeper", "api", "gateway"}
    assert control.status(platform.config.data_dir)["pid"] == status["pid"]
    platform.call("wake", id=platform.create())
    assert control.stop(platform.config, timeout=20)
    assert platform.processes() == set()
    assert [path for path in platform.config.run_dir.rglob("*") if path.is_socket()] == []
    assert control.status(platform.config)["state"] == "stopped"
    assert control.stop(platform.config)
    wait_for(lambda: "serving ['gateway']" in (platform.config.log_dir / "gateway.log").read_text())


@pytest.mark.skipif(os.geteuid() != 0, reason="giving up privileges needs root")
def test_as_root_services_give_up_their_privileges_and_see_no_passwords(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAGAYA_DATABASE_URL", "postgresql://u:pw@h/d")
    with running_platform(place, database_url="postgresql://u:pw@h/d") as platform:
        about = platform.ask()
        assert about["uid"] == platform.config.gateway_uid
        assert about["groups"] == []
        assert about["no_new_privs"] == "1"
        assert "pw" not in str(about["env"]) + str(about["config"])
        wait_for(lambda: "uid 199998" in (platform.config.log_dir / "api.log").read_text())
        data = platform.config.data_dir
        assert data.stat().st_mode & 0o7777 == 0o711
        assert (data / "keys").stat().st_uid == platform.config.service_uid
        for name in ("api.sock", "internal.sock"):
            status = (platform.config.run_dir / name).stat()
            assert (status.st_mode & 0o777, status.st_gid) == (0o660, platform.config.gateway_uid)


@pytest.mark.parametrize("name", ["gateway", "api", "keeper", "supervisor"])
def test_whatever_is_killed_comes_back_and_nothing_else_moves(platform: Platform, name: str) -> None:
    tenant = platform.create()
    awake = platform.call("wake", id=tenant)
    before = {item: platform.pid(item) for item in ("gateway", "api", "keeper", "supervisor")}
    began = time.monotonic()
    kill(before[name])
    wait_for(lambda: platform.pid(name) != before[name])
    wait_for(lambda: control.is_ready(platform.config))
    assert time.monotonic() - began < 10
    after = {item: platform.pid(item) for item in before}
    assert {item for item in before if before[item] != after[item]} == {name}
    assert platform.call("wake", id=tenant) == awake
    assert ask(awake["socket"]) == str(awake["pid"]).encode()
    platform.check_invariants()


def test_a_supervisor_that_was_restarted_can_restart_the_rest_on_the_same_sockets(platform: Platform) -> None:
    old = platform.pid("supervisor")
    kill(old)
    wait_for(lambda: platform.pid("supervisor") != old)
    for name in ("gateway", "keeper", "api"):
        old = platform.pid(name)
        kill(old)
        wait_for(lambda name=name, old=old: platform.pid(name) != old)
    assert platform.call("hello")["pid"] == platform.pid("keeper")
    assert platform.ask()["pid"] == platform.pid("gateway")
    assert control.stop(platform.config, timeout=20)
    assert platform.processes() == set()


def test_supervisor_and_keeper_killed_together_are_healed_by_the_next_up(platform: Platform) -> None:
    tenant = platform.create()
    awake = platform.call("wake", id=tenant)
    victims = [platform.pid("keeper"), platform.pid("supervisor")]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not any(alive(pid) for pid in victims))
    status = control.status(platform.config)
    assert (status["running"], status["state"]) == (False, "damaged")
    platform.up()
    assert platform.state(tenant)["pid"] == awake["pid"]
    platform.check_invariants()


def test_what_a_dead_supervisor_left_can_be_stopped(platform: Platform) -> None:
    platform.call("wake", id=platform.create())
    for name in ("keeper", "supervisor"):
        os.kill(platform.pid(name), signal.SIGKILL)
    control.stop(platform.config, timeout=20)
    platform.up()
    assert control.stop(platform.config, timeout=20)
    assert platform.processes() == set()


def test_a_second_start_finds_the_first(platform: Platform) -> None:
    with pytest.raises(SetupError, match="already runs"):
        control.start(platform.config, detach=True)
    done = subprocess.run(
        [sys.executable, "-m", "nagaya.supervisor.main", str(platform.config.path)], capture_output=True, timeout=20
    )
    assert done.returncode == 3
    assert b"already running" in done.stderr


def test_in_the_foreground_everything_ends_with_the_supervisor(place: Path) -> None:
    platform = Platform(platform_config(place))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        platform.config.save()
        process = subprocess.Popen([sys.executable, "-m", "nagaya.supervisor.main", str(platform.config.path)])
        try:
            wait_for(lambda: control.is_ready(platform.config))
            platform.key = MasterKey.load_or_create(platform.config.master_key_path)
            platform.call("wake", id=platform.create())
            process.send_signal(number)
            assert process.wait(30) in (0, -9)
            wait_for(lambda: platform.processes() == set())
        finally:
            process.kill()
            process.wait()
            platform.down()


def test_a_process_that_cannot_start_is_named_and_tried_again(place: Path) -> None:
    usual = platform_config(place).commands
    failing = {"gateway": [sys.executable, "-c", "import sys; sys.exit('no such setting')"]}
    platform = Platform(platform_config(place, commands=usual | failing))
    try:
        with pytest.raises(SetupError, match=r"gateway keeps ending \(no such setting\)"):
            control.start(platform.config, detach=True, timeout=2)
        record = SupervisorRecord.read(platform.config.run_dir)
        assert record is not None
        assert record.identity.alive()
    finally:
        platform.down()


def test_killed_at_random_it_heals_within_thirty_seconds(platform: Platform) -> None:
    chance = random.Random(os.environ.get("NAGAYA_TEST_SEED", "11"))
    tenants = [platform.create() for _ in range(3)]
    for _ in range(8):
        victim = chance.choice(["gateway", "api", "keeper", "supervisor", "zygote", "tenant"])
        try:
            platform.call(chance.choice(["wake", "sleep"]), id=chance.choice(tenants))
        except RuntimeFailure:
            time.sleep(0.05)  # It is being healed; the next kill comes in the middle of that.
        if victim in ("keeper", "supervisor"):
            # The two watch each other; killed at once they need the next `up`, which another test shows.
            pids = {name: platform.pid(name) for name in ("keeper", "supervisor")}
            os.kill(pids[victim], signal.SIGKILL)
            continue
        finders = {"zygote": platform.zygotes, "tenant": platform.tenants}
        pids_found = finders[victim]() if victim in finders else {platform.pid(victim)}
        for pid in pids_found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(chance.uniform(0, 0.4))
    began = time.monotonic()
    for name in ("supervisor", "keeper", "api", "gateway"):
        platform.pid(name)
    wait_for(lambda: control.is_ready(platform.config), seconds=30)

    def wakes(tenant: str) -> bool:
        try:
            return bool(platform.call("wake", id=tenant)["pid"])
        except RuntimeFailure:
            return False

    for tenant in tenants:
        wait_for(lambda tenant=tenant: wakes(tenant), seconds=30)
    assert time.monotonic() - began < 30
    platform.check_invariants()
    own = ProcessIdentity.of(platform.pid("supervisor"))
    assert own is not None
    wait_for(lambda: len(platform.processes()) == 4 + 3 + 1, seconds=30)  # The zygote may still be on its way.
