"""Tenants on hosts of their own: which Host values mean whom, what browsers get there, and where redirects lead."""

import asyncio
from typing import Any

import pytest

from tests.gateway.harness import AUTH, Answer, Seen, answer, head, run, world

PUBLIC = "http://zenml.example.test"
HOST = "one--acme.zenml.example.test"
HOSTS: dict[str, Any] = {"public_url": PUBLIC, "tenant_hosts": "{tenant}--{organization}.zenml.example.test"}
HTML = ("Accept", "text/html,application/xhtml+xml")


def location(reply: Answer) -> tuple[int, str | None]:
    """Status and target of a redirect."""
    return reply.status, reply.get("location")


def test_a_tenant_is_reached_by_its_host_and_by_its_path() -> None:
    async def test() -> None:
        async with world(**HOSTS) as w:
            reply = await w.ask("GET", "/api/v1/stacks?a=%2F", AUTH, host=HOST.upper())
            assert reply.json()["target"] == "/api/v1/stacks?a=%2F"
            by_host = w.tenant.seen[-1]
            assert (by_host.get("host"), by_host.get("x-forwarded-host")) == (HOST, HOST)
            assert by_host.get("x-forwarded-prefix") is None
            reply = await w.ask("GET", "/t/acme/one/api/v1/stacks", AUTH, host="zenml.example.test:80")
            assert w.tenant.seen[-1].get("x-forwarded-prefix") == "/t/acme/one"
            # Below its own host a path of the other kind is just a path of the tenant's.
            await w.ask("GET", "/t/acme/one/x", AUTH, ("X-Forwarded-Prefix", "/t/acme/one"), host=HOST)
            assert w.tenant.seen[-1].target == "/t/acme/one/x"
            assert w.tenant.seen[-1].get("x-forwarded-prefix") is None
            assert not w.api.seen

    run(test)


def test_health_below_a_tenants_host_is_the_tenants() -> None:
    async def test() -> None:
        async with world(**HOSTS) as w:
            await w.ask("GET", "/health", host=HOST)
            await w.ask("GET", "/ready", host=HOST)
            assert [seen.target for seen in w.tenant.seen] == ["/health", "/ready"]
            assert (await w.ask("GET", "/health", host="10.0.0.1")).json() == {"status": "ok"}

    run(test)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        (f"{HOST}:80", 200), (f"{HOST}:8080", 421), (f"{HOST}.", 421), ("one--acme.zenml.example.test.evil.test", 421),
        ("evil--acme.zenml.example.test", 404), ("one--evil.zenml.example.test", 404), ("one.zenml.example.test", 421),
        ("one--acme--x.zenml.example.test", 421), ("xn--acme.zenml.example.test", 421),
        ("one_--acme.zenml.example.test", 421), ("öne--acme.zenml.example.test", 400), (f"{HOST}@evil.test", 400),
        (f"{HOST}/x", 400), ("", 400), ("a b", 400), (f"{HOST}, evil.test", 400), (f"user:pass@{HOST}", 400),
        (f"{HOST}:", 400), (f"{HOST}:http", 400), ("[::1", 400),
    ],
)  # fmt: skip
def test_host_values(host: str, status: int) -> None:
    async def test() -> None:
        async with world(**HOSTS) as w:
            reply = await w.ask("GET", "/api/v1/stacks", AUTH, host=host)
            assert reply.status == status
            if status != 200:
                assert reply.error()[1].endswith(".")
                assert not w.tenant.seen

    run(test)


@pytest.mark.parametrize(
    "request_line",
    [
        f"GET http://{HOST}/api/v1/stacks HTTP/1.1", f"GET {HOST}/x HTTP/1.1", "GET * HTTP/1.1",
        "GET https://evil.test/ HTTP/1.1", f"CONNECT {HOST}:80 HTTP/1.1", "GET //evil.test/%2e%2e/x HTTP/1.1",
    ],
)  # fmt: skip
def test_targets_that_name_a_host_of_their_own(request_line: str) -> None:
    async def test() -> None:
        async with world(**HOSTS) as w:
            client = await w.connect()
            client.send(f"{request_line}\r\nHost: {HOST}\r\n\r\n".encode())
            assert (await client.receive()).status in {400, 405}
            assert not w.tenant.seen
            assert not w.api.seen

    run(test)


def test_two_host_headers_are_refused() -> None:
    async def test() -> None:
        async with world(**HOSTS) as w:
            client = await w.connect()
            client.send(head("GET", "/x", ("Host", "zenml.example.test"), host=HOST))
            assert (await client.receive()).status == 400

    run(test)


def test_a_session_is_worth_nothing_on_a_tenants_host() -> None:
    async def test() -> None:
        async with world(**HOSTS) as w:
            for method in ("GET", "POST"):
                csrf = ("X-Nagaya-CSRF", "1")
                await w.ask(method, "/api/v1/stacks", ("Cookie", "nagaya=abc"), csrf, host=HOST)
                seen = w.tenant.seen[-1]
                assert seen.get("cookie") is None
                assert seen.get("authorization") is None
            assert not w.internal.seen

    run(test)


def test_browsers_are_sent_to_where_their_session_is() -> None:
    async def test() -> None:
        async with world(**HOSTS) as w:
            reply = await w.ask("GET", "/runs/1?x=1", HTML, host=HOST)
            assert location(reply) == (307, f"{PUBLIC}/t/acme/one/runs/1?x=1")
            reply = await w.ask("GET", "/t/acme/one/runs/1?x=1", HTML, host="zenml.example.test")
            assert location(reply) == (302, "/login?next=/t/acme/one/runs/1%3Fx%3D1")
            # The page of the API needs no session while the tenant is awake, and runs the platform's scripts only.
            reply = await w.ask("GET", "/docs", HTML, host=HOST)
            assert reply.status == 200
            policies = [value for name, value in reply.headers if name == "content-security-policy"]
            assert policies[-1].startswith(f"script-src {PUBLIC}/assets/;")
        async with world(state="asleep", **HOSTS) as w:
            assert location(await w.ask("GET", "/docs", HTML, host=HOST)) == (307, f"{PUBLIC}/t/acme/one/docs")
            assert (await w.ask("GET", "/api/v1/info", host=HOST)).json() == {"version": "0.98.0"}
            assert (await w.ask("GET", "/api/v1/stacks", host=HOST)).status == 401

    run(test)


def test_other_hosts_of_the_platform_lead_to_the_public_one() -> None:
    async def test() -> None:
        async with world(**HOSTS) as w:
            for method in ("GET", "HEAD"):
                reply = await w.ask(method, "/o/acme?x=1", HTML, host="www.zenml.example.test")
                assert location(reply) == (307, f"{PUBLIC}/o/acme?x=1")
            reply = await w.ask("GET", "//evil.test/x", HTML, host="www.zenml.example.test")
            assert location(reply) == (307, f"{PUBLIC}//evil.test/x")
            reply = await w.ask("GET", "/api/v1/tenants", host="www.zenml.example.test")
            assert (reply.status, reply.error()[1]) == (421, f"This host is not served here; use {PUBLIC}.")
            assert (await w.ask("POST", "/login", HTML, host="www.zenml.example.test")).status == 421

    run(test)


def test_a_slash_too_many_is_taken_off_pages_only() -> None:
    async def test() -> None:
        async with world(**HOSTS) as w:
            reply = await w.ask("GET", "/account/?x=1", HTML, host="zenml.example.test")
            assert location(reply) == (308, f"{PUBLIC}/account?x=1")
            reply = await w.ask("GET", "//evil.test/", HTML, host="zenml.example.test")
            assert location(reply) == (308, f"{PUBLIC}//evil.test")
            for path, headers in (("/", (HTML,)), ("/api/v1/tenants/", ())):
                assert (await w.ask("GET", path, *headers, host="zenml.example.test")).status == 200
            assert (await w.ask("POST", "/account/", HTML, host="zenml.example.test")).status == 200

    run(test)


async def renamed(_seen: Seen, writer: asyncio.StreamWriter) -> None:
    """Knows every name as another spelling of the one tenant."""
    writer.write(answer(b'{"location": "/t/acme/one"}'))


def test_another_spelling_of_a_name_leads_to_the_tenants_host() -> None:
    async def test() -> None:
        async with world(**HOSTS) as w:
            w.internal.behave = renamed
            reply = await w.ask("GET", "/api/v1/info?x=1", host="old--acme.zenml.example.test")
            assert location(reply) == (308, f"http://{HOST}/api/v1/info?x=1")

    run(test)


def test_without_a_pattern_no_host_is_a_tenants() -> None:
    async def test() -> None:
        async with world(public_url=PUBLIC) as w:
            assert (await w.ask("GET", "/api/v1/stacks", AUTH, host=HOST)).status == 421

    run(test)


def test_what_is_remembered_about_hosts_is_bounded() -> None:
    async def test() -> None:
        async with world(**HOSTS) as w:
            hosts = w.gateway._hosts
            for number in range(10_000):
                hosts.owner(b"x%d.test" % number)
            assert len(hosts._owners) <= 4096
            assert hosts.owner(HOST.encode()) == (b"acme", b"one")

    run(test)
