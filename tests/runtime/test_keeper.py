"""The keeper as a real process: wake, sleep, stop, change, remove."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nagaya.runtime.interface import RuntimeFailure
from nagaya.runtime.local import rpc
from tests.runtime.support import ENGINE, KeeperProcess, alive, ask, running_keeper, wait_for


def starts(keeper: KeeperProcess, tenant: str) -> list[int]:
    return [int(line) for line in (keeper.config.data_dir / "tenants" / tenant / "starts").read_text().split()]


def test_a_new_tenant_sleeps_until_it_is_woken(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    assert keeper.state(tenant)["state"] == "asleep"
    awake = keeper.call("wake", id=tenant)
    assert ask(awake["socket"]) == str(awake["pid"]).encode()
    state = keeper.state(tenant)
    assert (state["state"], state["pid"], state["policy_version"]) == ("awake", awake["pid"], 1)
    assert {"queue", "prepare", "zygote", "fork", "ready", "total", "child.total"} <= set(state["timings"])
    keeper.check_invariants()
    assert keeper.call("wake", id=tenant)["pid"] == awake["pid"]


def test_a_hundred_wakes_at_once_cause_one_start(keeper: KeeperProcess) -> None:
    keeper.engine.behave(tenant="slow")
    tenant = keeper.create()
    with ThreadPoolExecutor(100) as pool:
        pids = {item["pid"] for item in pool.map(lambda _: keeper.call("wake", id=tenant), range(100))}
    assert pids == set(starts(keeper, tenant))
    assert len(pids) == 1


def test_a_connection_to_a_sleeping_tenant_wakes_it(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    path = keeper.state(tenant)["socket"]
    assert ask(path) == str(keeper.wait_state(tenant, "awake")["pid"]).encode()


def test_asleep_and_awake_again_on_the_same_socket(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    first = keeper.call("wake", id=tenant)
    assert keeper.call("sleep", id=tenant)["state"] == "asleep"
    assert not alive(first["pid"])
    second = keeper.call("wake", id=tenant)
    assert (second["socket"], second["pid"] != first["pid"]) == (first["socket"], True)


def test_a_stubborn_process_is_killed_at_the_deadline(keeper: KeeperProcess) -> None:
    keeper.engine.behave(tenant="stubborn")
    tenant = keeper.create()
    pid = keeper.call("wake", id=tenant)["pid"]
    began = time.monotonic()
    keeper.call("sleep", id=tenant)
    assert 1.9 < time.monotonic() - began < 6
    assert not alive(pid)


@pytest.mark.parametrize(("desired", "state", "code"), [("stopped", "stopped", "deactivated"), ("deleted",) * 3])
def test_what_is_not_wanted_stops_at_once_and_cannot_be_woken(
    keeper: KeeperProcess, desired: str, state: str, code: str
) -> None:
    spec = keeper.spec()
    keeper.create(**spec)
    pid = keeper.call("wake", id=spec["id"])["pid"]
    assert keeper.call("apply", spec=spec | {"generation": 2, "desired": desired})["state"] == state
    assert not alive(pid)
    with pytest.raises(RuntimeFailure) as caught:
        keeper.call("wake", id=spec["id"])
    assert caught.value.code == code
    keeper.check_invariants()
    assert (keeper.config.data_dir / "tenants" / spec["id"]).exists()
    keeper.call("apply", spec=spec | {"generation": 1})
    assert keeper.state(spec["id"])["state"] == state, "an older generation must be ignored"
    keeper.call("apply", spec=spec | {"generation": 3})
    assert keeper.call("wake", id=spec["id"])["pid"]


def test_stopping_interrupts_a_start(place: Path) -> None:
    with running_keeper(place, ready_timeout=60.0) as keeper:
        keeper.engine.behave(tenant="mute")
        spec = keeper.spec()
        keeper.create(**spec)
        failures: list[RuntimeFailure] = []

        def wake() -> None:
            with pytest.raises(RuntimeFailure) as caught:
                keeper.call("wake", id=spec["id"])
            failures.append(caught.value)

        thread = threading.Thread(target=wake)
        thread.start()
        wait_for(keeper.tenants)
        keeper.call("apply", spec=spec | {"generation": 2, "desired": "stopped"})
        thread.join(10)
        assert failures[0].code == "deactivated"
        assert keeper.tenants() == set()


def test_a_change_that_matters_restarts_and_another_does_not(keeper: KeeperProcess) -> None:
    spec = keeper.spec()
    keeper.create(**spec)
    pid = keeper.call("wake", id=spec["id"])["pid"]
    keeper.call("apply", spec=spec | {"generation": 2, "idle_seconds": 77})
    assert keeper.state(spec["id"])["pid"] == pid
    keeper.call("apply", spec=spec | {"generation": 3, "idle_seconds": 77, "tenant": "renamed"})
    assert wait_for(lambda: keeper.state(spec["id"])["pid"]) != pid
    assert not alive(pid)


def test_one_that_never_sleeps_starts_by_itself(keeper: KeeperProcess) -> None:
    tenant = keeper.create(hibernate=False)
    pid = keeper.wait_state(tenant, "awake")["pid"]
    keeper.call("restart", id=tenant)
    assert keeper.state(tenant)["pid"] != pid


def test_policies_only_go_forward_and_reach_the_process(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    keeper.call("policy", id=tenant, policy={"version": 5})
    assert keeper.call("policy", id=tenant, policy={"version": 4}) == {"version": 5}
    keeper.call("wake", id=tenant)
    assert keeper.state(tenant)["policy_version"] == 5
    with pytest.raises(RuntimeFailure, match="version"):
        keeper.call("policy", id=tenant, policy={})


def test_without_a_policy_nothing_starts(keeper: KeeperProcess) -> None:
    spec = keeper.spec()
    keeper.call("apply", spec=spec)
    with pytest.raises(RuntimeFailure, match="no policy") as caught:
        keeper.call("wake", id=spec["id"])
    assert caught.value.code == "failed"


def test_purge_leaves_nothing_and_may_be_repeated(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    keeper.call("wake", id=tenant)
    keeper.call("purge", id=tenant)
    keeper.call("purge", id=tenant)
    assert keeper.tenants() == set()
    assert not [path for path in keeper.config.data_dir.rglob("*") if tenant[:8] in path.name]
    assert tenant not in (keeper.config.keeper_dir / "uids.json").read_text() if os.geteuid() == 0 else True
    with pytest.raises(RuntimeFailure) as caught:
        keeper.call("get", id=tenant)
    assert caught.value.code == "unknown"


@pytest.mark.skipif(os.geteuid() != 0, reason="own users per tenant need root")
def test_as_root_each_tenant_has_its_own_user_and_a_closed_directory(keeper: KeeperProcess) -> None:
    first, second = keeper.create(), keeper.create()
    owners = []
    for tenant in (first, second):
        keeper.call("wake", id=tenant)
        status = (keeper.config.data_dir / "tenants" / tenant).stat()
        owners.append(status.st_uid)
        assert status.st_mode & 0o777 == 0o700
    assert owners == [200_000, 200_001]
    directory = (keeper.config.run_dir / "t").stat()
    assert (directory.st_mode & 0o777, directory.st_gid) == (0o710, keeper.config.gateway_uid)
    assert ask(keeper.state(first)["socket"]) != ask(keeper.state(second)["socket"])


@pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")
def test_others_may_not_speak_to_the_keeper_and_the_gateway_may_not_change_anything(keeper: KeeperProcess) -> None:
    def as_user(uid: int, method: str) -> str:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setresuid(uid, uid, uid)
            try:
                rpc.call(keeper.config.socket("keeper"), method, timeout=5)
                os.write(write, b"ok")
            except RuntimeFailure as error:
                os.write(write, error.code.encode())
            finally:
                os._exit(0)
        os.close(write)
        os.waitpid(pid, 0)
        with os.fdopen(read, "rb") as stream:
            return stream.read().decode()

    gateway = keeper.config.gateway_uid
    assert gateway is not None
    assert as_user(65534, "hello") == "unreachable"
    assert as_user(gateway, "hello") == "ok"
    assert as_user(gateway, "purge") == "forbidden"
    assert as_user(gateway - 1, "list") == "ok"


def test_requests_that_make_no_sense_are_answered_with_a_sentence(keeper: KeeperProcess) -> None:
    for method, params, code in [
        ("dance", {}, "unknown_method"),
        ("wake", {"id": str(uuid.uuid4())}, "unknown"),
        ("wake", {}, "invalid"),
        ("apply", {"spec": {}}, "invalid"),
        ("apply", {"spec": keeper.spec(engine="../x")}, "invalid"),
        ("policy", {"id": "../../etc", "policy": {"version": 1}}, "invalid"),
    ]:
        with pytest.raises(RuntimeFailure) as caught:
            keeper.call(method, **params)
        assert caught.value.code == code
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(keeper.config.socket("keeper")))
        connection.sendall(b"nonsense\n[]\n")
        answers = b""
        while answers.count(b"\n") < 2:
            answers += connection.recv(1000)
        assert answers.count(b"invalid") == 2


def test_a_missing_engine_is_named(keeper: KeeperProcess) -> None:
    tenant = keeper.create(engine="9.9.9")
    with pytest.raises(RuntimeFailure, match=r"9\.9\.9 is not installed"):
        keeper.call("wake", id=tenant)
    spec = keeper.spec(secrets={"jwt": "v1.x.y"})
    tenant = keeper.create(**spec)
    with pytest.raises(RuntimeFailure, match="secrets"):
        keeper.call("wake", id=tenant)


def test_the_log_of_a_tenant_is_shown(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    keeper.call("wake", id=tenant)
    assert keeper.call("logs", id=tenant, lines=5) == ["starting staging"]


def test_too_many_wakes_are_told_to_come_back(place: Path) -> None:
    with running_keeper(place, wake_limit=1, wake_queue=1) as keeper:
        keeper.engine.behave(tenant="slow")
        tenants = [keeper.create() for _ in range(6)]

        def wake(tenant: str) -> str:
            try:
                keeper.call("wake", id=tenant)
            except RuntimeFailure as error:
                return error.code
            return "awake"

        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(wake, tenants))
        assert set(answers) == {"awake", "busy"}
        assert all(wake(tenant) == "awake" for tenant in tenants)


def test_an_engine_installed_anew_gets_a_new_zygote_and_tenants_go_on(keeper: KeeperProcess) -> None:
    first, second = keeper.create(), keeper.create()
    pid = keeper.call("wake", id=first)["pid"]
    old = keeper.call("hello")["engines"][0]["zygote_pid"]
    keeper.engine.finish("two")
    keeper.call("wake", id=second)
    engine = keeper.call("hello")["engines"][0]
    assert (engine["version"], engine["state"]) == (ENGINE, "ready")
    assert engine["zygote_pid"] != old
    assert not alive(old)
    assert keeper.state(first)["pid"] == pid
    assert alive(pid)
    keeper.check_invariants()


def test_stopping_the_keeper_stops_all(keeper: KeeperProcess) -> None:
    for _ in range(3):
        keeper.call("wake", id=keeper.create())
    assert keeper.terminate() == 0
    assert keeper.tenants() | keeper.zygotes() == set()
    assert list((keeper.config.run_dir / "t").iterdir()) == []
