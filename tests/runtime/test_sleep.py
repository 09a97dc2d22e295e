"""Idle sleep: activity reports, the agreement of gateways, and what happens without one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from nagaya.runtime.interface import RuntimeFailure, TenantSpec
from nagaya.runtime.local.client import LocalRuntime
from nagaya.runtime.local.rpc import KeeperUnreachableError, RpcConnection
from tests.runtime.support import KeeperProcess, alive, running_keeper


class ScriptedGateway:
    """A gateway that reports and answers as it is told."""

    def __init__(self, connection: RpcConnection) -> None:
        self.connection = connection
        self.asked = 0
        self.answer: bool | None = True
        self.seen: list[dict[str, Any]] = []

    async def run(self) -> None:
        async for event in self.connection.events():
            self.seen.append(event)
            if event["event"] == "quiesce":
                self.asked += 1
                if self.answer is not None:
                    await self.connection.call("quiesced", id=event["id"], ok=self.answer)


async def gateways(keeper: KeeperProcess, count: int = 1) -> AsyncIterator[ScriptedGateway]:
    for _ in range(count):
        connection = await RpcConnection.open(keeper.config.socket("keeper"))
        await connection.call("subscribe", role="gateway")
        yield ScriptedGateway(connection)


def run(keeper: KeeperProcess, scenario: Callable[[list[ScriptedGateway]], Awaitable[None]], count: int = 1) -> None:
    async def main() -> None:
        found = [gateway async for gateway in gateways(keeper, count)]
        tasks = [asyncio.create_task(gateway.run()) for gateway in found]
        try:
            async with asyncio.timeout(30):
                await scenario(found)
        finally:
            for gateway, task in zip(found, tasks, strict=True):
                await gateway.connection.close()
                task.cancel()

    asyncio.run(main())


async def until(condition: Callable[[], Any]) -> None:
    while not condition():  # noqa: ASYNC110 - the condition lies in another process.
        await asyncio.sleep(0.02)


def test_without_a_gateway_there_is_no_traffic_and_it_sleeps(keeper: KeeperProcess) -> None:
    tenant = keeper.create(idle_seconds=0.3)
    pid = keeper.call("wake", id=tenant)["pid"]
    keeper.wait_state(tenant, "asleep")
    assert not alive(pid)
    keeper.check_invariants()


def test_it_sleeps_once_the_gateway_agrees_and_never_before(keeper: KeeperProcess) -> None:
    tenant = keeper.create(idle_seconds=0.3)

    async def scenario(found: list[ScriptedGateway]) -> None:
        gateway = found[0]
        gateway.answer = False
        await asyncio.to_thread(keeper.call, "wake", id=tenant)
        await until(lambda: gateway.asked)
        assert keeper.state(tenant)["state"] == "awake"
        gateway.answer = True
        await until(lambda: keeper.state(tenant)["state"] == "asleep")
        assert gateway.asked == 2

    run(keeper, scenario)


def test_every_gateway_has_to_agree(place: Path) -> None:
    with running_keeper(place, quiesce_timeout=0.3) as keeper:
        tenant = keeper.create(idle_seconds=0.3)

        async def scenario(found: list[ScriptedGateway]) -> None:
            silent = found[1]
            silent.answer = None
            await asyncio.to_thread(keeper.call, "wake", id=tenant)
            await until(lambda: found[0].asked and silent.asked)
            await asyncio.sleep(0.5)
            assert keeper.state(tenant)["state"] == "awake"
            await silent.connection.close()
            await until(lambda: keeper.state(tenant)["state"] == "asleep")

        run(keeper, scenario, 2)


def test_requests_in_flight_and_recent_ones_keep_it_awake(keeper: KeeperProcess) -> None:
    tenant = keeper.create(idle_seconds=1.0)

    async def scenario(found: list[ScriptedGateway]) -> None:
        gateway = found[0]
        await asyncio.to_thread(keeper.call, "wake", id=tenant)
        await gateway.connection.call("activity", tenants={tenant: {"in_flight": 1, "idle": 0}, "unknown": {}})
        await asyncio.sleep(1.5)
        assert (gateway.asked, keeper.state(tenant)["state"]) == (0, "awake")
        await gateway.connection.call("activity", tenants={tenant: {"in_flight": 0, "idle": 0.1}})
        await until(lambda: keeper.state(tenant)["state"] == "asleep")

    run(keeper, scenario)


def test_traffic_ends_with_its_gateway(keeper: KeeperProcess) -> None:
    tenant = keeper.create(idle_seconds=0.4)

    async def scenario(found: list[ScriptedGateway]) -> None:
        await asyncio.to_thread(keeper.call, "wake", id=tenant)
        await found[0].connection.call("activity", tenants={tenant: {"in_flight": 3, "idle": 0}})
        await found[0].connection.close()
        await until(lambda: keeper.state(tenant)["state"] == "asleep")

    run(keeper, scenario)


def test_one_that_may_not_hibernate_does_not(keeper: KeeperProcess) -> None:
    tenant = keeper.create(idle_seconds=0.2, hibernate=False)
    pid = keeper.wait_state(tenant, "awake")["pid"]
    other = keeper.create(idle_seconds=0.2)
    keeper.call("wake", id=other)
    keeper.wait_state(other, "asleep")
    assert keeper.state(tenant)["pid"] == pid


def test_subscribers_hear_of_all_and_then_of_changes(keeper: KeeperProcess) -> None:
    tenant = keeper.create()

    async def scenario(found: list[ScriptedGateway]) -> None:
        seen = found[0].seen
        await until(lambda: {"event": "synced"} in seen)
        assert [event["id"] for event in seen if event["event"] == "route"] == [tenant]
        await asyncio.to_thread(keeper.call, "wake", id=tenant)
        await until(lambda: seen[-1].get("state") == "awake")
        assert seen[-1]["info"]["id"] == tenant
        assert [event["state"] for event in seen if event["event"] == "route"] == ["asleep", "starting", "awake"]
        await asyncio.to_thread(keeper.call, "purge", id=tenant)
        await until(lambda: seen[-1] == {"event": "gone", "id": tenant})

    run(keeper, scenario)


def test_the_runtime_client_covers_the_protocol_and_survives_a_restart(keeper: KeeperProcess) -> None:
    async def scenario() -> None:
        runtime = LocalRuntime(keeper.config.socket("keeper"))
        spec = TenantSpec.from_json(keeper.spec())
        assert (await runtime.hello())["pid"]
        assert (await runtime.apply(spec)).state == "asleep"
        await runtime.policy(spec.id, {"version": 3})
        awake = await runtime.wake(spec.id)
        assert (await runtime.get(spec.id)).pid == awake.pid
        await asyncio.to_thread(keeper.kill)
        await asyncio.to_thread(keeper.start)
        assert [state.pid for state in await runtime.list()] == [awake.pid]
        assert await runtime.logs(spec.id, 1) == ["starting staging"]
        assert (await runtime.sleep(spec.id)).state == "asleep"
        assert (await runtime.restart(spec.id)).state == "awake"
        events = runtime.events()
        assert (await anext(events))["event"] == "route"
        assert await anext(events) == {"event": "synced"}
        await runtime.purge(spec.id)
        with pytest.raises(RuntimeFailure):
            await runtime.get(spec.id)
        await runtime.close()
        await asyncio.to_thread(keeper.terminate)
        assert [event async for event in events][-1]["event"] == "gone"
        keeper.listener.close()
        with pytest.raises(KeeperUnreachableError, match="is Nagaya running"):
            await runtime.hello()

    asyncio.run(scenario())
    with pytest.raises(KeeperUnreachableError):
        keeper.call("hello")
