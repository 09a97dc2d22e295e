"""Browser sessions on tenants' pages: cookies become tenants' tokens, and are worth nothing to anybody else."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.gateway.harness import AUTH, TENANT, Seen, World, answer, obedient, run, world

COOKIE = ("Cookie", "other=1; nagaya=secret-session")
HTML = ("Accept", "text/html,application/xhtml+xml")


def exchanging(w: World, *, status: int = 200, expires_in: float = 300) -> None:
    """Let the api exchange cookies for tokens."""

    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
        content = (
            {"token": f"token-{len(w.internal.seen)}", "expires_in": expires_in} if status == 200 else {"detail": "No."}
        )
        writer.write(answer(json.dumps(content).encode(), status))

    w.internal.behave = behave


def test_a_session_cookie_becomes_a_tenant_token_once() -> None:
    async def test() -> None:
        async with world() as w:
            exchanging(w)
            replies = await asyncio.gather(*(w.ask("GET", "/t/acme/one/x", COOKIE) for _ in range(10)))
            assert {reply.status for reply in replies} == {200}
            assert {seen.get("authorization") for seen in w.tenant.seen} == {"Bearer token-1"}
            assert all(seen.get("cookie") is None for seen in w.tenant.seen)
            assert json.loads(w.internal.seen[0].body) == {"cookie": "secret-session", "tenant": TENANT}
            assert len(w.internal.seen) == 1
            assert "secret-session" not in w.log_path.read_text()
            await w.ask("GET", "/t/acme/one/x", COOKIE, AUTH)
            assert w.tenant.seen[-1].get("authorization") == AUTH[1]

    run(test)


def test_a_refused_token_is_forgotten_and_a_short_one_is_not_kept() -> None:
    async def refuse(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"{}", 401))

    async def test() -> None:
        async with world() as w:
            exchanging(w)
            w.tenant.behave = refuse
            assert (await w.ask("GET", "/t/acme/one/x", COOKIE)).status == 401
            await w.ask("GET", "/t/acme/one/x", COOKIE)
            assert [seen.get("authorization") for seen in w.tenant.seen] == ["Bearer token-1", "Bearer token-2"]
            w.tenant.behave = obedient
            exchanging(w, expires_in=5)
            for _ in range(2):
                await w.ask("GET", "/t/acme/one/x", ("Cookie", "nagaya=b"))
            assert len(w.internal.seen) == 4

    run(test)


@pytest.mark.parametrize(("internal", "status"), [(401, 200), (403, 403), (404, 404), (500, 503)])
def test_sessions_that_are_worth_nothing_here(internal: int, status: int) -> None:
    async def test() -> None:
        async with world() as w:
            exchanging(w, status=internal)
            reply = await w.ask("GET", "/t/acme/one/x", COOKIE)
            assert reply.status == status
            if internal == 401:
                assert w.tenant.seen[0].get("authorization") is None

    run(test)


@pytest.mark.parametrize(
    "raw", [b'{"token": "a b", "expires_in": 300}', b'{"token": "a\\r\\nX: y", "expires_in": 300}']
)
def test_tokens_that_would_break_the_head_are_refused(raw: bytes) -> None:
    async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(raw))

    async def test() -> None:
        async with world() as w:
            w.internal.behave = behave
            assert (await w.ask("GET", "/t/acme/one/x", COOKIE)).status == 502
            assert not w.tenant.seen

    run(test)


def test_the_api_may_be_gone_while_tenants_serve() -> None:
    async def test() -> None:
        async with world() as w:
            await w.internal.stop()
            await w.api.stop()
            assert (await w.ask("GET", "/t/acme/one/x", AUTH)).status == 200
            assert (await w.ask("GET", "/t/acme/one/x", COOKIE)).status == 503
            assert (await w.ask("GET", "/api/v1/x")).status == 502
            assert (await w.ask("GET", "/ready")).json()["checks"] == {"keeper": "ok", "api": "unreachable"}
            assert (await w.ask("GET", "/health")).json() == {"status": "ok"}

    run(test)


ORIGIN = ("Origin", "http://localhost")


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("POST", [], 403),
        ("POST", [("X-Nagaya-CSRF", "1")], 200),
        ("POST", [("X-Nagaya-CSRF", "0")], 403),
        ("DELETE", [("Sec-Fetch-Site", "same-origin"), ORIGIN], 200),
        ("PUT", [("Sec-Fetch-Site", "same-origin"), ("Origin", "http://evil.example")], 403),
        ("POST", [("Sec-Fetch-Site", "none")], 403),
        ("POST", [("Sec-Fetch-Site", "same-site"), ("X-Nagaya-CSRF", "1")], 403),
        ("POST", [("Sec-Fetch-Site", "cross-site"), ("X-Nagaya-CSRF", "1")], 403),
        ("POST", [("X-Nagaya-CSRF", "1"), ("Origin", "null")], 403),
        ("GET", [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")], 200),
        ("GET", [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")], 403),
        ("GET", [("Origin", "http://evil.example")], 403),
        ("POST", [AUTH, ("Sec-Fetch-Site", "cross-site"), ("Origin", "http://evil.example")], 200),
    ],
)
def test_cookies_are_worth_nothing_to_other_sites(method: str, headers: list[tuple[str, str]], status: int) -> None:
    async def test() -> None:
        async with world() as w:
            exchanging(w)
            assert (await w.ask(method, "/t/acme/one/x", COOKIE, *headers)).status == status

    run(test)


@pytest.mark.parametrize("cookie", ["nagaya=a; nagaya=b", "nagaya=", "xnagaya=a", "nagaya=\xe4"])
def test_planted_or_malformed_cookies_are_no_session(cookie: str) -> None:
    async def test() -> None:
        async with world() as w:
            exchanging(w)
            assert (await w.ask("GET", "/t/acme/one/x", ("Cookie", cookie))).status == 200
            assert not w.internal.seen

    run(test)


def test_over_tls_only_the_host_prefixed_cookie_counts() -> None:
    async def test() -> None:
        async with world(public_url="https://nagaya.example") as w:
            exchanging(w)
            await w.ask("GET", "/t/acme/one/x", COOKIE)
            assert not w.internal.seen
            await w.ask("GET", "/t/acme/one/x", ("Cookie", "__Host-nagaya=s"))
            assert len(w.internal.seen) == 1

    run(test)


@pytest.mark.parametrize("state", ["awake", "asleep"])
def test_browsers_without_session_are_sent_to_the_login(state: str) -> None:
    async def test() -> None:
        async with world(state=state) as w:
            exchanging(w, status=401)
            for headers in ([HTML], [HTML, COOKIE]):
                reply = await w.ask("GET", "/t/acme/one/docs?a=b&c", *headers, host=f"127.0.0.1:{w.port}")
                assert (reply.status, reply.get("location")) == (302, "/login?next=/t/acme/one/docs%3Fa%3Db%26c")
            assert not w.keeper.called("wake")

    run(test)
