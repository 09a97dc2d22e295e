"""The channel against a control plane that answers, is silent, slow, lies, refuses, dies and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from cloud import Cloud, FakeApi, grant

from nagaya_tenant import channel as channel_module
from nagaya_tenant.channel import Channel
from nagaya_tenant.channel_http import Connection
from nagaya_tenant.outbox import Outbox
from nagaya_tenant.policy_state import PolicyState
from nagaya_tenant.settings import TenantSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Tenant:
    """A channel with what belongs to it."""

    def __init__(self, cloud: Cloud, api: FakeApi, directory: Path) -> None:
        self.cloud = cloud
        self.policy = PolicyState(cloud.tenant, 60)
        self.outbox = Outbox(directory / "outbox.db")
        settings = TenantSettings(
            tenant_id=UUID(cloud.tenant),
            organization_id=uuid4(),
            public_url="http://127.0.0.1:8440",
            root_path="",
            channel_socket=api.path,
            channel_token="the-token",
            system_user_id=uuid4(),
            outbox=directory / "outbox.db",
        )
        self.channel = Channel(settings, self.policy, self.outbox)


@contextlib.asynccontextmanager
async def running(cloud: Cloud, api: FakeApi, directory: Path, *, serve: bool = True) -> AsyncIterator[Tenant]:
    if serve:
        await api.start()
    tenant = Tenant(cloud, api, directory)
    await tenant.channel.start()
    try:
        yield tenant
    finally:
        await tenant.channel.stop()
        tenant.outbox.close()
        await api.stop()


def delta(cloud: Cloud, base: int, **principals: Any) -> dict[str, Any]:
    return {"type": "delta", "base": base, "version": base + 1, "principals": principals, "revoked_sessions": {}}


def test_the_policy_is_there_after_the_start(cloud: Cloud, api: FakeApi, tmp_path: Path) -> None:
    async def scenario() -> None:
        api.document = cloud.document()
        async with running(cloud, api, tmp_path) as tenant:
            assert tenant.policy.version == 1
            target, headers = api.requests[0]
            assert target == "/channel/v1/policy?after=-1"
            assert headers["authorization"] == "Bearer the-token"
            assert headers["nagaya-tenant"] == cloud.tenant

    asyncio.run(scenario())


@pytest.mark.parametrize("behaviour", ["silent", "slow", "lying", "refuses", "dead"])
def test_a_control_plane_that_misbehaves_delays_the_start_by_a_quarter_second_at_most(
    cloud: Cloud, api: FakeApi, tmp_path: Path, behaviour: str
) -> None:
    async def scenario() -> None:
        api.behaviour = behaviour
        started = time.monotonic()
        async with running(cloud, api, tmp_path, serve=behaviour != "dead") as tenant:
            assert time.monotonic() - started < 1.0
            assert tenant.policy.version == -1

    asyncio.run(scenario())


def test_snapshots_and_deltas_apply_in_order(cloud: Cloud, api: FakeApi, tmp_path: Path) -> None:
    async def scenario() -> None:
        api.document = cloud.document()
        async with running(cloud, api, tmp_path) as tenant:
            await api.until(lambda: api.streams)
            entry = {"kind": "user", "username": "x", "grants": [], "shares": {}}
            api.push(delta(cloud, 1, one=entry))
            api.push(delta(cloud, 1, two=entry))  # contained already: the version is not newer
            api.push(delta(cloud, 2, three=entry))
            await api.until(lambda: tenant.policy.version == 3)
            assert set(tenant.policy.current().principals) == {"one", "three"}
            cloud.version = 7
            api.document = cloud.document()
            api.push(delta(cloud, 6, four=entry))  # a gap: the whole policy is asked for
            await api.until(lambda: tenant.policy.version == 8)
            cloud.member("ada", grant("tenant_admin"))
            api.push({"type": "policy", "policy": cloud.document()})
            await api.until(lambda: tenant.policy.version == 9)
            old = cloud.document() | {"version": 2}
            api.push({"type": "policy", "policy": old})
            api.push({"type": "ping", "time": 0})
            api.push({"type": "something new"})
            entry = delta(cloud, 9)
            api.push(entry)
            await api.until(lambda: tenant.policy.version == 10)

    asyncio.run(scenario())


def test_a_lost_stream_comes_back(cloud: Cloud, api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "FIRST_BACK_OFF", 0.02)

    async def scenario() -> None:
        api.document = cloud.document()
        async with running(cloud, api, tmp_path) as tenant:
            await api.until(lambda: tenant.channel.connected)
            await api.stop()
            await api.until(lambda: not tenant.channel.connected)
            await api.start()
            await api.until(lambda: tenant.channel.connected and api.streams)
            api.push(delta(cloud, 1))
            await api.until(lambda: tenant.policy.version == 2)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "line", ["not json", "[]", '{"type": "policy", "policy": {"schema": 9}}', '{"type": "policy"}']
)
def test_nonsense_on_the_stream_changes_nothing(
    cloud: Cloud, api: FakeApi, tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "FIRST_BACK_OFF", 0.02)

    async def scenario() -> None:
        api.document = cloud.document()
        async with running(cloud, api, tmp_path) as tenant:
            with contextlib.suppress(ValueError, ConnectionError):
                await tenant.channel._take(line.encode())
            assert tenant.policy.version == 1

    asyncio.run(scenario())


def test_silence_is_noticed(cloud: Cloud, api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(channel_module, "FIRST_BACK_OFF", 0.02)

    async def scenario() -> None:
        async with running(cloud, api, tmp_path):
            await api.until(lambda: sum("stream" in target for target, _ in api.requests) >= 2)

    asyncio.run(scenario())


def test_events_are_sent_and_forgotten(cloud: Cloud, api: FakeApi, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(cloud, api, tmp_path) as tenant:
            for number in range(450):
                tenant.outbox.append({"kind": "usage", "number": number})
            await api.until(lambda: len(api.events) == 450)
            assert [each["number"] for each in api.events] == list(range(450))
            await api.until(lambda: not len(tenant.outbox))

    asyncio.run(scenario())


def test_events_survive_a_dead_control_plane(
    cloud: Cloud, api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "FIRST_BACK_OFF", 0.02)

    async def scenario() -> None:
        async with running(cloud, api, tmp_path, serve=False) as tenant:
            tenant.outbox.append({"kind": "usage", "number": 1}).result()
        async with running(cloud, api, tmp_path, serve=False) as tenant:
            api.behaviour = "refuses"
            await api.start()
            await api.until(lambda: any("events" in target for target, _ in api.requests))
            assert len(tenant.outbox) == 1
            api.behaviour = "answers"
            await api.until(lambda: len(api.events) == 1)

    asyncio.run(scenario())


def test_a_lying_acknowledgement_forgets_nothing_that_was_not_sent(cloud: Cloud, api: FakeApi, tmp_path: Path) -> None:
    async def scenario() -> None:
        api.behaviour = "lying"
        async with running(cloud, api, tmp_path) as tenant:
            tenant.outbox.append({"kind": "usage"}).result()
            await api.until(lambda: not len(tenant.outbox))
            tenant.outbox.append({"kind": "usage"}).result()
            assert tenant.outbox.batch()[0]["seq"] == 2

    asyncio.run(scenario())


def test_the_sign_of_life_is_kept_over_restarts(cloud: Cloud, api: FakeApi, tmp_path: Path) -> None:
    async def scenario() -> None:
        api.document = cloud.document()
        async with running(cloud, api, tmp_path) as tenant:
            await api.until(lambda: tenant.channel.connected)
            seen = tenant.policy.last_sign_of_life
        async with running(cloud, api, tmp_path, serve=False) as tenant:
            assert abs(tenant.policy.last_sign_of_life - seen) < 5

    asyncio.run(scenario())


def test_sharing_without_a_control_plane_says_so(cloud: Cloud, api: FakeApi, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(cloud, api, tmp_path, serve=False) as tenant:
            with pytest.raises(RuntimeError, match="does not answer"):
                await asyncio.to_thread(tenant.channel.share, {})

    asyncio.run(scenario())
    lonely = Tenant(cloud, api, tmp_path)
    with pytest.raises(RuntimeError, match="not been started"):
        lonely.channel.share({})
    lonely.outbox.close()


def test_an_idle_channel_needs_almost_no_processor_time(cloud: Cloud, api: FakeApi, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(cloud, api, tmp_path) as tenant:
            await api.until(lambda: tenant.channel.connected)
            wakes = 0

            def count() -> None:
                nonlocal wakes
                wakes += 1

            loop = asyncio.get_running_loop()
            original = loop.call_soon
            loop.call_soon = lambda *a, **k: (count(), original(*a, **k))[1]  # type: ignore[method-assign]
            await asyncio.sleep(0.5)
            loop.call_soon = original  # type: ignore[method-assign]
            assert wakes < 10

    asyncio.run(scenario())


def test_requests_on_one_connection(api: FakeApi) -> None:
    async def scenario() -> None:
        await api.start()
        connection = Connection(api.path, ())
        for _ in range(3):
            assert (await connection.request("GET", "/x")).json() == "not what was asked for"
        await connection.close()
        await api.stop()

    asyncio.run(scenario())
