"""Engines that are installed, removed, damaged and repaired while the keeper runs, or while it does not."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from nagaya.engines import errors
from nagaya.runtime.interface import RuntimeFailure
from nagaya.runtime.local import rpc
from nagaya.runtime.local.store import engine_users
from tests.runtime.support import ENGINE, FakeEngine, KeeperProcess, ask, running_keeper, wait_for

OTHER = "0.0.2"


def engines_of(keeper: KeeperProcess) -> dict[str, dict[str, Any]]:
    return {engine["version"]: engine for engine in keeper.call("hello")["engines"]}


def wait_engine(keeper: KeeperProcess, version: str, *states: str) -> dict[str, Any]:
    return wait_for(lambda: (found := engines_of(keeper).get(version)) and found["state"] in states and found)


def kill_zygote(keeper: KeeperProcess, version: str) -> None:
    os.kill(engines_of(keeper)[version]["zygote_pid"], signal.SIGKILL)


def test_an_engine_that_is_installed_and_removed_is_noticed(keeper: KeeperProcess) -> None:
    assert set(engines_of(keeper)) == {ENGINE}
    engine = FakeEngine(keeper.config.engines_dir, OTHER)
    assert wait_engine(keeper, OTHER, "idle", "starting", "ready")["mode"] == "zygote"
    tenant = keeper.create(engine=OTHER)
    assert "fork" in keeper.call("wake", id=tenant)["timings"]
    keeper.call("purge", id=tenant)
    shutil.rmtree(engine.directory)
    wait_for(lambda: set(engines_of(keeper)) == {ENGINE})
    wait_for(lambda: len(keeper.zygotes()) == 1)


def test_subscribers_hear_of_engines(keeper: KeeperProcess) -> None:
    told: list[dict[str, Any]] = []

    async def listen() -> None:
        connection = await rpc.RpcConnection.open(keeper.config.socket("keeper"))
        try:
            await connection.call("subscribe", role="api")
            FakeEngine(keeper.config.engines_dir, OTHER)
            async for event in connection.events():
                if event["event"] == "engines":
                    told.extend(event["engines"])
                    if OTHER in {engine["version"] for engine in told}:
                        return
        finally:
            await connection.close()

    asyncio.run(asyncio.wait_for(listen(), 15))
    assert {engine["version"] for engine in told} == {ENGINE, OTHER}


def test_tenants_of_a_missing_engine_fail_until_it_is_installed(keeper: KeeperProcess) -> None:
    tenant = keeper.create(engine=OTHER)
    found = keeper.wait_state(tenant, "failed")
    assert found["reason"] == errors.not_installed(OTHER)
    with pytest.raises(RuntimeFailure, match=r"0\.0\.2 is not installed\. Install it: nagaya engine install 0\.0\.2"):
        keeper.call("wake", id=tenant)
    FakeEngine(keeper.config.engines_dir, OTHER)
    assert ask(keeper.wait_state(tenant, "awake")["socket"])


@pytest.mark.parametrize("damage", ["python", "zenml", "record", "template", "packages"])
def test_damage_concerns_the_tenants_of_that_engine_only(keeper: KeeperProcess, place: Path, damage: str) -> None:
    engine = FakeEngine(keeper.config.engines_dir, OTHER)
    path = {
        "python": engine.directory / "bin" / "python",
        "zenml": engine.site / "zenml",
        "record": engine.directory / "nagaya" / "engine.json",
        "template": engine.directory / "nagaya" / "template.db",
        "packages": engine.site / "nagaya_tenant",
    }[damage]
    healthy, tenant = keeper.create(), keeper.create(engine=OTHER)
    for each in (healthy, tenant):
        keeper.call("wake", id=each)
    serving = keeper.state(tenant)
    aside = place / "aside"
    path.rename(aside)
    reason = wait_engine(keeper, OTHER, "damaged")["reason"]
    assert reason.startswith(f"The engine {OTHER} is damaged: ")
    assert reason.endswith(f"Repair it: nagaya engine install {OTHER} --repair")
    # What runs goes on.
    assert ask(serving["socket"]) == str(serving["pid"]).encode()
    keeper.call("sleep", id=tenant)
    engine.behave(zygote="dying")
    kill_zygote(keeper, OTHER)
    assert keeper.wait_state(tenant, "failed")["reason"] == reason
    assert keeper.state(healthy)["state"] == "awake"
    with pytest.raises(RuntimeFailure, match="is damaged"):
        keeper.call("wake", id=tenant)
    engine.behave()
    aside.rename(path)
    assert ask(keeper.wait_state(tenant, "awake")["socket"])
    assert wait_engine(keeper, OTHER, "ready")["reason"] == ""
    keeper.check_invariants()


def test_a_damaged_engine_keeps_no_keeper_from_starting(place: Path) -> None:
    with running_keeper(place) as keeper:
        other = FakeEngine(keeper.config.engines_dir, OTHER)
        healthy, tenant, deleted = keeper.create(), keeper.create(engine=OTHER), keeper.create(engine=OTHER)
        keeper.call("wake", id=tenant)
        keeper.call("apply", spec=keeper.spec(id=deleted, engine=OTHER, generation=2, desired="deleted"))
        assert keeper.terminate() == 0
        (other.directory / "bin" / "python").unlink()
        keeper.start()
        assert "is damaged: its interpreter" in str(keeper.wait_state(tenant, "failed")["reason"])
        assert keeper.state(deleted)["state"] == "deleted"
        assert ask(keeper.call("wake", id=healthy)["socket"])
        # Repaired while no keeper runs: the next one finds it out.
        assert keeper.terminate() == 0
        shutil.rmtree(other.directory)
        FakeEngine(keeper.config.engines_dir, OTHER)
        keeper.start()
        assert ask(keeper.wait_state(tenant, "awake")["socket"])


def test_an_engine_whose_files_are_damaged_inside_is_found_when_it_fails(place: Path) -> None:
    keeper = KeeperProcess(place)
    try:
        other = FakeEngine(keeper.config.engines_dir, OTHER)
        other.behave(zygote="dying", tenant="refusing")
        record = other.site / "zenml-0.0.2.dist-info" / "RECORD"
        record.parent.mkdir()
        record.write_text("zenml/__init__.py,sha256=AAAA,3\n")
        keeper.start()
        tenant = keeper.create(engine=OTHER)
        reason = keeper.wait_state(tenant, "failed")["reason"]
        assert "1 of its files are missing or changed (zenml/__init__.py)" in reason
        assert wait_engine(keeper, OTHER, "damaged")["mode"] == "plain"
    finally:
        keeper.close()


def test_an_exchange_of_an_engine_disturbs_nobody(keeper: KeeperProcess, place: Path) -> None:
    engine = FakeEngine(keeper.config.engines_dir, OTHER)
    tenant = keeper.create(engine=OTHER)
    keeper.call("wake", id=tenant)
    keeper.call("sleep", id=tenant)
    before = wait_engine(keeper, OTHER, "ready")["zygote_pid"]
    made = FakeEngine(place, OTHER)
    made.finish("two")
    engine.directory.rename(keeper.config.engines_dir / ".0.0.2.old")
    made.directory.rename(engine.directory)
    wait_for(lambda: engines_of(keeper)[OTHER]["zygote_pid"] not in (None, before))
    assert keeper.state(tenant)["state"] == "asleep"
    assert ask(keeper.call("wake", id=tenant)["socket"])


def test_the_records_name_who_needs_an_engine(keeper: KeeperProcess) -> None:
    keeper.create(tenant="one")
    gone = keeper.create(tenant="two")
    keeper.call("apply", spec=keeper.spec(id=gone, tenant="two", generation=2, desired="deleted"))
    keeper.create(tenant="three", engine=OTHER)
    assert engine_users(keeper.config.keeper_dir, ENGINE) == ["acme/one", "acme/two"]
    keeper.call("purge", id=gone)
    assert engine_users(keeper.config.keeper_dir, ENGINE) == ["acme/one"]
    (next((keeper.config.keeper_dir / "tenants").iterdir()) / "spec.json").write_text("{")
    assert len(engine_users(keeper.config.keeper_dir, "9.9.9")) == 1
    assert engine_users(keeper.config.keeper_dir / "none", ENGINE) == []
