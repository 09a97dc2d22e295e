"""Starts that fail, processes that crash, zygotes that misbehave."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from nagaya.runtime.interface import RuntimeFailure
from tests.runtime.support import KeeperProcess, alive, ask, running_keeper, wait_for


@pytest.mark.parametrize(
    ("behaviour", "code", "sentence"),
    [
        ("dying", "failed", "ended with code 70.*cannot open the database"),
        ("killed", "failed", "was ended by SIGKILL"),
        ("refusing", "failed", "the template is missing"),
        ("lying", "failed", "ended with code 0"),
        ("mute", "timeout", "did not answer within 1 s"),
    ],
)
def test_a_failed_wake_says_why_and_leaves_no_process(place: Path, behaviour: str, code: str, sentence: str) -> None:
    with running_keeper(place, ready_timeout=1.0) as keeper:
        keeper.engine.behave(tenant=behaviour)
        tenant = keeper.create()
        with pytest.raises(RuntimeFailure, match=sentence) as caught:
            keeper.call("wake", id=tenant)
        assert caught.value.code == code
        assert keeper.tenants() == set()
        state = keeper.state(tenant)
        assert state["state"] == "asleep"
        assert state["reason"]
        keeper.check_invariants()
        keeper.engine.behave()
        assert keeper.call("wake", id=tenant)["pid"]


def test_after_repeated_failures_it_is_failed_until_a_restart(keeper: KeeperProcess) -> None:
    keeper.engine.behave(tenant="dying")
    tenant = keeper.create()
    for _ in range(5):
        with pytest.raises(RuntimeFailure):
            keeper.call("wake", id=tenant)
    assert keeper.state(tenant)["state"] == "failed"
    assert list((keeper.config.run_dir / "t").iterdir()) == []
    with pytest.raises(RuntimeFailure, match="5 failures") as caught:
        keeper.call("wake", id=tenant)
    assert caught.value.code == "failed"
    keeper.kill()
    keeper.start()
    assert keeper.state(tenant)["state"] == "failed"
    keeper.engine.behave()
    assert keeper.call("restart", id=tenant)["state"] == "awake"
    keeper.check_invariants()


def test_a_failed_tenant_is_tried_again_after_a_while_and_by_apply(place: Path) -> None:
    with running_keeper(place, failure_limit=1, failed_retry=1.0) as keeper:
        keeper.engine.behave(tenant="dying")
        spec = keeper.spec()
        tenant = keeper.create(**spec)
        with pytest.raises(RuntimeFailure):
            keeper.call("wake", id=tenant)
        keeper.engine.behave()
        time.sleep(1.0)  # What is tested is that time has passed.
        assert keeper.call("wake", id=tenant)["pid"]
        keeper.engine.behave(tenant="dying")
        keeper.call("sleep", id=tenant)
        with pytest.raises(RuntimeFailure):
            keeper.call("wake", id=tenant)
        keeper.engine.behave()
        assert keeper.call("apply", spec=spec | {"generation": 2})["state"] == "asleep"
        assert keeper.call("wake", id=tenant)["pid"]


def test_a_crashed_tenant_comes_back_by_itself(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    awake = keeper.call("wake", id=tenant)
    os.kill(awake["pid"], signal.SIGKILL)
    state = wait_for(lambda: (found := keeper.state(tenant))["pid"] not in (None, awake["pid"]) and found)
    assert state["restarts"] == 1
    assert ask(keeper.wait_state(tenant, "awake")["socket"]) == str(state["pid"]).encode()
    keeper.check_invariants()


def test_one_that_crashes_again_and_again_is_given_up_with_a_reason(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    keeper.call("wake", id=tenant)
    for _ in range(5):
        state = keeper.wait_state(tenant, "awake", "failed")
        if state["state"] == "awake":
            ask(state["socket"], b"die")
            wait_for(lambda pid=state["pid"]: not alive(pid))
    assert "ended with code 3" in keeper.wait_state(tenant, "failed")["reason"]


@pytest.mark.parametrize("behaviour", ["dying", "unsupported", "lying"])
def test_without_a_zygote_tenants_start_plainly(place: Path, behaviour: str) -> None:
    keeper = KeeperProcess(place)
    keeper.engine.behave(zygote=behaviour)
    try:
        keeper.start()
        tenant = keeper.create()
        awake = keeper.call("wake", id=tenant)
        assert ask(awake["socket"]) == str(awake["pid"]).encode()
        assert "exec" in awake["timings"]
        engine = keeper.call("hello")["engines"][0]
        assert engine["state"] == "failed"
        assert engine["reason"]
        keeper.check_invariants()
        os.kill(awake["pid"], signal.SIGKILL)
        wait_for(lambda: keeper.state(tenant)["restarts"] == 1)
        wait_for(lambda: "SIGKILL" in (keeper.config.log_dir / "keeper.log").read_text())
        keeper.wait_state(tenant, "awake")
    finally:
        keeper.close()


def test_a_wake_waits_for_a_slow_zygote(place: Path) -> None:
    keeper = KeeperProcess(place)
    keeper.engine.behave(zygote="slow")
    try:
        keeper.start()
        awake = keeper.call("wake", id=keeper.create())
        assert awake["timings"]["zygote"] > 100
    finally:
        keeper.close()


def test_a_dead_zygote_is_replaced_and_its_children_go_on(keeper: KeeperProcess) -> None:
    tenant = keeper.create()
    pid = keeper.call("wake", id=tenant)["pid"]
    old = keeper.call("hello")["engines"][0]["zygote_pid"]
    os.kill(old, signal.SIGKILL)
    other = keeper.create()
    wait_for(lambda: keeper.call("hello")["engines"][0]["zygote_pid"] not in (None, old))
    assert keeper.call("wake", id=other)["pid"]
    assert keeper.state(tenant)["pid"] == pid
    assert alive(pid)
    keeper.check_invariants()
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: keeper.state(tenant)["pid"] not in (None, pid))


def test_a_process_that_ended_before_it_was_known_still_says_why(place: Path) -> None:
    with running_keeper(place) as keeper:
        keeper.engine.behave(tenant="refusing", zygote="answering late")
        with pytest.raises(RuntimeFailure, match="the template is missing"):
            keeper.call("wake", id=keeper.create())
        assert keeper.tenants() == set()


@pytest.mark.parametrize("behaviour", ["dying at spawn", "dying after fork", "silent", "refusing"])
def test_a_zygote_that_fails_at_the_fork_leaves_one_process_at_most(place: Path, behaviour: str) -> None:
    with running_keeper(place, start_timeout=1.0) as keeper:
        tenant = keeper.create()
        keeper.engine.behave(zygote=behaviour)
        if behaviour == "refusing":
            with pytest.raises(RuntimeFailure, match="two threads"):
                keeper.call("wake", id=tenant)
        else:
            assert "exec" in keeper.call("wake", id=tenant)["timings"]
            # What a child that was given up has said does not make its successor ready.
            state = keeper.state(tenant)
            assert ask(state["socket"]) == str(state["pid"]).encode()
        wait_for(lambda: len(keeper.tenants()) == len([item for item in keeper.call("list") if item["pid"]]))
        keeper.check_invariants()
