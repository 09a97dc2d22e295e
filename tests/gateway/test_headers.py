"""Header rules: what crosses the gateway in either direction, and what it adds."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway.harness import AUTH, Seen, answer, run, world

SANDBOX = "sandbox allow-downloads; frame-ancestors 'self'"


def test_forwarding_headers_are_overwritten_and_private_ones_removed() -> None:
    async def test() -> None:
        async with world() as w:
            await w.ask(
                "GET",
                "/t/acme/one/api/v1/stacks",
                AUTH,
                ("X-Forwarded-For", "6.6.6.6"),
                ("X-Forwarded-Proto", "https"),
                ("X-Forwarded-Host", "evil"),
                ("X-Forwarded-Prefix", "/evil"),
                ("X-Forwarded-Port", "1"),
                ("X-Forwarded-User", "root"),
                ("X_Forwarded_For", "6.6.6.6"),
                ("Forwarded", "for=6.6.6.6"),
                ("X-Real-IP", "6.6.6.6"),
                ("Nagaya-Tenant", "x"),
                ("X-Nagaya-Internal-User", "root"),
                ("Cookie", "a=b"),
                ("Keep-Alive", "5"),
                ("TE", "trailers"),
                ("Proxy-Authorization", "x"),
                ("X-Hop", "1"),
                ("Connection", "keep-alive, X-Hop"),
                ("X-Kept", "ä"),
                ("X-Empty", ""),
            )
            seen = w.tenant.seen[0]
            assert {name: seen.get(name) for name in seen.names()} == {
                "host": "localhost",
                "authorization": AUTH[1],
                "x-forwarded-for": "127.0.0.1",
                "x-forwarded-proto": "http",
                "x-forwarded-host": "localhost",
                "x-forwarded-port": "80",
                "x-forwarded-prefix": "/t/acme/one",
                "x-real-ip": "127.0.0.1",
                "forwarded": 'for=127.0.0.1;host="localhost";proto=http',
                "x-request-id": seen.get("x-request-id"),
                "x-kept": "ä",
                "x-empty": "",
            }

    run(test)


def test_public_host_is_forwarded_with_its_own_scheme() -> None:
    async def test() -> None:
        async with world(public_url="https://nagaya.example") as w:
            await w.ask("GET", "/api/v1/x", ("Cookie", "session=1"), host="nagaya.example")
            seen = w.api.seen[0]
            assert seen.get("x-forwarded-proto") == "https"
            assert seen.get("x-forwarded-port") == "443"
            assert seen.get("cookie") == "session=1"
            assert seen.get("x-forwarded-prefix") is None

    run(test)


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.2:3_X", True), ("", False), ("x" * 65, False), ("a b", False), ("a/b", False)]
)
def test_request_id_is_kept_if_well_formed(given: str, kept: bool) -> None:
    async def test() -> None:
        async with world() as w:
            reply = await w.ask("GET", "/x", ("X-Request-ID", given))
            sent = w.api.seen[0].get("x-request-id")
            assert sent == reply.get("x-request-id")
            assert (sent == given) is kept
            assert sent

    run(test)


def test_tenant_answers_lose_cookies_and_gain_protection() -> None:
    async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(
            answer(
                b"{}",
                200,
                ("Set-Cookie", "a=b"),
                ("set-cookie", "c=d"),
                ("Clear-Site-Data", "*"),
                ("Connection", "keep-alive, X-Hop"),
                ("X-Hop", "1"),
                ("Access-Control-Allow-Origin", "*"),
                ("X-Nagaya-Internal-Thing", "1"),
                ("X-Request-ID", "theirs"),
            )
        )

    async def test() -> None:
        async with world() as w:
            w.tenant.behave = behave
            reply = await w.ask("GET", "/t/acme/one/x", AUTH)
            names = {name for name, _ in reply.headers}
            assert names.isdisjoint({"set-cookie", "clear-site-data", "x-hop", "connection", "x-nagaya-internal-thing"})
            assert reply.get("access-control-allow-origin") == "*"
            assert reply.get("x-content-type-options") == "nosniff"
            assert reply.get("content-security-policy") == SANDBOX
            assert reply.get("x-request-id") == w.tenant.seen[0].get("x-request-id")

    run(test)


def test_what_a_tenant_serves_is_never_a_page_of_the_platform() -> None:
    hostile = (
        ("Content-Type", "text/html"),
        ("Content-Security-Policy", "default-src * 'unsafe-inline'"),
        ("X-Content-Type-Options", "sniff"),
        ("Connection", "close, content-security-policy, x-content-type-options"),
        ("Set-Cookie", "a=b"),
    )

    async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"<script>", 200, *hostile))

    async def test() -> None:
        async with world() as w:
            w.tenant.behave = behave
            for path in ("/x", "/", "/docs/x", "/api/v1/docs", "/x?a=/docs"):
                reply = await w.ask("GET", f"/t/acme/one{path}", AUTH)
                policies = [value for name, value in reply.headers if name == "content-security-policy"]
                assert policies[-1] == SANDBOX, path
                assert [value for name, value in reply.headers if name == "x-content-type-options"] == ["nosniff"]
            # The documentation may run the platform's scripts, and none of the tenant's.
            reply = await w.ask("GET", "/t/acme/one/docs", AUTH)
            policies = [value for name, value in reply.headers if name == "content-security-policy"]
            assert policies[-1].startswith(f"script-src {w.gateway.settings.public_url}/assets/; object-src 'none'")

    run(test)


def test_the_api_keeps_its_policy_and_cookies() -> None:
    async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"{}", 200, ("Content-Security-Policy", "default-src 'self'"), ("Set-Cookie", "a=b")))

    async def test() -> None:
        async with world() as w:
            w.api.behave = behave
            reply = await w.ask("GET", "/login")
            assert (reply.get("content-security-policy"), reply.get("set-cookie")) == ("default-src 'self'", "a=b")
            # An empty organization is no tenant's address: the path crosses as it is.
            await w.ask("GET", "/t//one/api/v1/users", AUTH)
            assert w.api.seen[-1].target == "/t//one/api/v1/users"

    run(test)


@pytest.mark.parametrize(
    ("path", "forwarded"),
    [
        ("/t/acme/one", "/"),
        ("/t/acme/one?a=b", "/?a=b"),
        ("/t/acme/one/", "/"),
        ("/t/acme/one/a%2Fb//c/%C3%A9;x=1?q=%2e%2e/../#".rstrip("#"), "/a%2Fb//c/%C3%A9;x=1?q=%2e%2e/../"),
        ("/t/acme/one/.well-known/x..y/...", "/.well-known/x..y/..."),
    ],
)
def test_tenant_prefix_is_stripped_and_nothing_else(path: str, forwarded: str) -> None:
    async def test() -> None:
        async with world() as w:
            assert (await w.ask("GET", path, AUTH)).json()["target"] == forwarded

    run(test)


@pytest.mark.parametrize(
    "path",
    [
        "/t/acme/one/../two",
        "/a/./b",
        "/a/%2e%2E/b",
        "/a/..",
        "/a/.%2e",
        "/a/..;x/b",
        "/t/acme%2fone/x",
        "/t/acme/one%2Fx",
        "/t/a%5cb/one",
        "/t/%61cme/one/x",
        "/t/acme/one/%00",
        "http://localhost/x",
        "//localhost/../x",
        "localhost:80",
        "*",
        "/a#b",
        "/a\\b",
    ],
)
def test_ambiguous_targets_are_refused(path: str) -> None:
    async def test() -> None:
        async with world() as w:
            reply = await w.ask("GET", path, AUTH)
            assert reply.status == 400
            assert not w.tenant.seen + w.api.seen

    run(test)


@pytest.mark.parametrize("path", ["/t", "/t/", "/t/acme", "/t/acme/", "/tt/acme/one", "/%74/acme/one", "//t/acme/one"])
def test_everything_else_goes_to_the_api_unchanged(path: str) -> None:
    async def test() -> None:
        async with world() as w:
            assert (await w.ask("GET", path, AUTH)).json()["target"] == path
            assert not w.tenant.seen

    run(test)
