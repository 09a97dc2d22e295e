"""Tenants asleep, awake and gone: waking, sessions, browser rules, limits, activity and the quiesce handshake."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.gateway.harness import AUTH, KEY, TENANT, Seen, World, answer, head, obedient, run, token, until, world

COOKIE = ("Cookie", "other=1; nagaya=secret-session")
HTML = ("Accept", "text/html,application/xhtml+xml")


def waking(w: World, delay: float = 0.05) -> None:
    """Let the keeper wake the tenant after a while."""

    async def wake(_: str) -> dict[str, Any]:
        w.keeper.route(state="starting", socket=None)
        await asyncio.sleep(delay)
        w.keeper.route(state="awake", socket=w.tenant.path)
        return {"result": {"socket": w.tenant.path, "pid": 1}}

    w.keeper.on_wake = wake


def test_a_hundred_first_requests_wake_once() -> None:
    async def test() -> None:
        async with world(state="asleep") as w:
            waking(w)
            replies = await asyncio.gather(*(w.ask("GET", f"/t/acme/one/{n}", AUTH) for n in range(100)))
            assert {reply.status for reply in replies} == {200}
            assert w.keeper.called("wake") == [{"id": TENANT}]

    run(test)


@pytest.mark.parametrize(
    ("credential", "wakes"),
    [
        ("Bearer " + token(), True),
        (f"bearer {KEY}", True),
        ("Bearer " + token(-1), False),
        ("Bearer ZENPROKEY_short", False),
        ("Bearer a.b.c", False),
        ("Bearer " + "." * 2, False),
        ("Basic YTpi", False),
        ("Bearer", False),
        ("Bearer " + "x" * 20_000, False),
        ("Bearer e30.e30.AA", False),
        ("Bearer W10.W10.AA", False),
    ],
)
def test_only_plausible_credentials_wake(credential: str, wakes: bool) -> None:
    async def test() -> None:
        async with world(state="asleep") as w:
            waking(w, 0)
            reply = await w.ask("POST", "/t/acme/one/api/v1/login", ("Authorization", credential))
            assert reply.status == (200 if wakes else 401)
            assert len(w.keeper.called("wake")) == wakes
            if not wakes:
                assert reply.error()[0] == "CredentialsNotValid"
                assert reply.get("www-authenticate") == "Bearer"

    run(test)


def test_a_sleeping_tenant_shows_its_cached_face() -> None:
    async def test() -> None:
        async with world(state="asleep") as w:
            assert (await w.ask("GET", "/t/acme/one/api/v1/info")).json() == {"version": "0.98.0"}
            assert (await w.ask("GET", "/t/acme/one/health")).body == b'"OK"'
            assert (await w.ask("HEAD", "/t/acme/one/ready")).status == 200
            assert (await w.ask("GET", "/t/acme/one/api/v1/stacks")).status == 401
            assert not w.keeper.called("wake")
            w.keeper.route("22222222-2222-4222-8222-222222222222", tenant="two", state="starting", socket=None)
            await until(lambda: len(w.gateway.table) == 2)
            assert (await w.ask("GET", "/t/acme/two/api/v1/info")).status == 503

    run(test)


@pytest.mark.parametrize(
    ("code", "status", "retry"),
    [
        ("deactivated", 503, None),
        ("failed", 502, None),
        ("deleted", 410, None),
        ("unknown", 404, None),
        ("busy", 503, "2"),
        ("timeout", 503, "5"),
        ("surprise", 503, "5"),
    ],
)
def test_a_failed_wake_says_why(code: str, status: int, retry: str | None) -> None:
    async def wake(_: str) -> dict[str, Any]:
        return {"error": {"code": code, "message": "The reason <b>is</b> this."}}

    async def test() -> None:
        async with world(state="asleep") as w:
            w.keeper.on_wake = wake
            reply = await w.ask("GET", "/t/acme/one/x", AUTH)
            assert (reply.status, reply.get("retry-after")) == (status, retry)
            assert "The reason <b>is</b> this." in reply.error()[1]
            page = await w.ask("GET", "/t/acme/one/x", AUTH, HTML, host=f"127.0.0.1:{w.port}")
            assert page.status == status
            assert (page.get("content-type") or "").startswith("text/html")
            assert b"The reason &lt;b&gt;is&lt;/b&gt; this." in page.body
            assert "default-src 'none'" in (page.get("content-security-policy") or "")

    run(test)


@pytest.mark.parametrize(("state", "status"), [("stopped", 503), ("deleted", 410), ("failed", 401)])
def test_tenants_that_cannot_be_used(state: str, status: int) -> None:
    async def test() -> None:
        async with world(state=state) as w:
            assert (await w.ask("GET", "/t/acme/one/x")).status == status
            assert not w.keeper.called("wake")
            if state == "failed":
                assert (await w.ask("GET", "/t/acme/one/health")).status == 502

    run(test)


def test_waiting_for_a_wake_is_bounded() -> None:
    async def wake(_: str) -> dict[str, Any]:
        await asyncio.sleep(60)
        return {}

    async def test() -> None:
        async with world(state="asleep", wake_seconds=0.1) as w:
            w.keeper.on_wake = wake
            reply = await w.ask("GET", "/t/acme/one/x", AUTH)
            assert (reply.status, reply.get("retry-after")) == (503, "5")
            assert "it is asleep" in reply.error()[1]
            await w.keeper.stop()
            await until(lambda: not w.gateway.link.connected)
            reply = await w.ask("GET", "/t/acme/one/x", AUTH)
            assert "does not answer" in reply.error()[1]

    run(test)


def test_a_keeper_that_restarts_is_found_again_and_awake_tenants_are_served_meanwhile() -> None:
    async def test() -> None:
        async with world() as w:
            w.keeper.route("22222222-2222-4222-8222-222222222222", tenant="two", state="asleep", socket=None)
            await until(lambda: len(w.gateway.table) == 2)
            await w.keeper.stop()
            await until(lambda: not w.gateway.link.connected)
            assert (await w.ask("GET", "/t/acme/one/x", AUTH)).status == 200
            assert (await w.ask("GET", "/ready")).status == 503
            del w.keeper.routes["22222222-2222-4222-8222-222222222222"]
            waiting = asyncio.create_task(w.ask("GET", "/t/acme/two/x", AUTH))
            await asyncio.sleep(0.05)

            async def wake(_: str) -> dict[str, Any]:
                return {"result": {"socket": w.tenant.path, "pid": 1}}

            w.keeper.on_wake = wake
            await w.keeper.start()
            assert (await waiting).status == 200
            await until(lambda: len(w.gateway.table) == 1)
            assert (await w.ask("GET", "/ready")).status == 200

    run(test)


def test_events_that_cannot_be_read_do_no_harm_and_gone_tenants_go() -> None:
    async def test() -> None:
        async with world() as w:
            for event in ({"event": "route", "id": "x"}, {"event": "novelty"}, {"event": "quiesce", "id": "nobody"}):
                w.keeper.tell(event)
            w.keeper.tell({"event": "gone", "id": TENANT})
            w.keeper.tell({"event": "gone", "id": TENANT})
            await until(lambda: not len(w.gateway.table))
            assert any(line["event"] == "keeper event refused" for line in w.log())
            assert (await w.ask("GET", "/t/acme/one/x", AUTH)).status == 404

    run(test)


def test_unknown_names_may_have_moved() -> None:
    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
        location = {"old": "/t/acme/one", "evil": "https://evil.example/", "odd": 5}.get(seen.target.rpartition("=")[2])
        writer.write(answer(json.dumps({"location": location}).encode(), 200 if location else 404))

    async def test() -> None:
        async with world() as w:
            w.internal.behave = behave
            reply = await w.ask("GET", "/t/acme/old/api/v1/x?a=b", AUTH)
            assert (reply.status, reply.get("location")) == (308, "/t/acme/one/api/v1/x?a=b")
            for name in ("evil", "odd", "none"):
                assert (await w.ask("GET", f"/t/acme/{name}/x", AUTH)).status == 404
            await w.internal.stop()
            assert (await w.ask("GET", "/t/acme/old/x", AUTH)).status == 404

    run(test)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:99", 200),
        ("127.0.0.2", 200),
        ("[::1]:5", 200),
        ("other.example", 200),
        ("evil.example", 421),
        ("10.0.0.1", 421),
    ],
)
def test_only_known_hosts_are_served(host: str, status: int) -> None:
    async def test() -> None:
        async with world(public_url="https://nagaya.example:8443/", allowed_hosts=("other.example",)) as w:
            assert (await w.ask("GET", "/api/v1/x?y", host=host)).status == status
            page = await w.ask("GET", "/api/v1/x?y", HTML, host=host)
            assert (page.status, page.get("location")) == (307, "https://nagaya.example:8443/api/v1/x?y")
            assert (await w.ask("GET", "/health", host=host)).status == 200

    run(test)


def test_limits_per_tenant() -> None:
    async def test() -> None:
        release = asyncio.Event()

        async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.write(answer())

        async with world(route={"max_in_flight": 2}, queue_per_upstream=3) as w:
            w.tenant.behave = behave
            asks = [asyncio.create_task(w.ask("GET", "/t/acme/one/x", AUTH)) for _ in range(5)]
            route = w.gateway.table.get(TENANT)
            assert route is not None
            await until(lambda: route.gate.in_flight == 5)
            await until(lambda: len(w.tenant.seen) == 2)
            reply = await w.ask("GET", "/t/acme/one/x", AUTH)
            assert (reply.status, reply.get("retry-after")) == (429, "1")
            gone = await w.connect()
            asks.pop().cancel()
            await until(lambda: route.gate.in_flight == 4)
            gone.send(head("GET", "/t/acme/one/gone", AUTH))
            await until(lambda: route.gate.in_flight == 5)
            gone.close()
            await until(lambda: route.gate.in_flight == 4)
            assert (await w.ask("GET", "/api/v1/x")).status == 200
            release.set()
            assert {reply.status for reply in await asyncio.gather(*asks)} == {200}
            assert route.gate.in_flight == 0
            assert all(seen.target == "/x" for seen in w.tenant.seen)

    run(test)


def test_a_place_in_the_queue_is_not_held_for_ever() -> None:
    async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async def test() -> None:
        async with world(route={"max_in_flight": 1}, wake_seconds=0.1) as w:
            w.tenant.behave = behave
            first = await w.connect()
            first.send(head("GET", "/t/acme/one/x", AUTH))
            await until(lambda: w.tenant.seen)
            assert (await w.ask("GET", "/t/acme/one/x", AUTH)).status == 429

    run(test)


def test_activity_counts_only_what_should_keep_a_tenant_awake() -> None:
    async def test() -> None:
        async with world() as w:
            for path, headers in (
                ("health", [AUTH]),
                ("ready", [AUTH]),
                ("api/v1/info", [AUTH]),
                ("metrics", [AUTH]),
                ("x", []),
                ("x", [AUTH, ("X-Nagaya-Background", "1")]),
                ("x", [("Authorization", "Bearer nonsense")]),
            ):
                assert (await w.ask("GET", f"/t/acme/one/{path}", *headers)).status == 200
            await asyncio.sleep(0.6)
            assert not w.keeper.called("activity")
            await w.ask("GET", "/t/acme/one/x", AUTH)
            await until(lambda: w.keeper.called("activity"))
            report = w.keeper.called("activity")[0]["tenants"][TENANT]
            assert report["in_flight"] == 0
            assert 0 <= report["idle"] < 2
            await w.keeper.stop()
            await until(lambda: not w.gateway.link.connected)
            await w.keeper.start()
            await until(lambda: len(w.keeper.called("activity")) == 2)

    run(test)


def test_quiesce_is_agreed_to_only_when_nothing_is_in_flight_and_then_requests_wake() -> None:
    async def test() -> None:
        release = asyncio.Event()

        async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.write(answer())

        async with world() as w:
            waking(w, 0)
            w.tenant.behave = behave
            pending = asyncio.create_task(w.ask("GET", "/t/acme/one/health"))
            await until(lambda: w.tenant.seen)
            w.keeper.tell({"event": "quiesce", "id": TENANT})
            await until(lambda: w.keeper.called("quiesced"))
            assert w.keeper.called("quiesced") == [{"id": TENANT, "ok": False}]
            release.set()
            await pending
            assert not w.keeper.called("wake")
            w.keeper.tell({"event": "quiesce", "id": TENANT})
            await until(lambda: len(w.keeper.called("quiesced")) == 2)
            assert w.keeper.called("quiesced")[1] == {"id": TENANT, "ok": True}
            assert (await w.ask("GET", "/t/acme/one/x", AUTH)).status == 200
            assert len(w.keeper.called("wake")) == 1
            assert (await w.ask("GET", "/t/acme/one/x", AUTH)).status == 200
            assert len(w.keeper.called("wake")) == 1

    run(test)


def test_requests_racing_with_quiesce_never_reach_a_stopped_tenant() -> None:
    async def test() -> None:
        async with world() as w:
            stopped = False
            strays = 0

            async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
                nonlocal strays
                strays += stopped
                await obedient(seen, writer)

            async def wake(_: str) -> dict[str, Any]:
                nonlocal stopped
                await asyncio.sleep(0.001)
                stopped = False
                w.keeper.route(state="awake", socket=w.tenant.path)
                return {"result": {"socket": w.tenant.path, "pid": 1}}

            def quiesced(ok: bool) -> None:
                nonlocal stopped
                if ok:
                    stopped = True
                    w.keeper.route(state="asleep", socket=None)

            w.tenant.behave, w.keeper.on_wake, w.keeper.on_quiesced = behave, wake, quiesced

            async def answered(known: int) -> None:
                await until(lambda: len(w.keeper.called("quiesced")) > known)

            async def sleeper() -> None:
                for _ in range(40):
                    known = len(w.keeper.called("quiesced"))
                    w.keeper.tell({"event": "quiesce", "id": TENANT})
                    await answered(known)
                    await asyncio.sleep(0.003)

            async def asker() -> None:
                client = await w.connect()
                for n in range(60):
                    client.send(head("GET", f"/t/acme/one/{n}", AUTH))
                    assert (await client.receive()).status == 200
                    await asyncio.sleep(0.004)

            await asyncio.gather(sleeper(), asker(), asker())
            assert strays == 0
            assert any(call["ok"] for call in w.keeper.called("quiesced"))

    run(test)
