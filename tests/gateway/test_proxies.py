"""Whose requests are whose: chains of proxies, spoofed headers, and what follows for limits, logs and redirects."""

from typing import Any

import pytest

from nagaya.gateway.proxies import MAX_HOPS, Proxies, parse_networks
from nagaya.gateway.request import Request, RequestBody
from tests.gateway.harness import AUTH, run, world

TRUSTED = ("10.0.0.0/8", "192.0.2.1", "fd00::/8", "127.0.0.0/8")
PEER = "10.0.0.1"


def read(*headers: tuple[str, str], family: str = "x-forwarded", peer: str = PEER) -> Request:
    """A request with these headers, as a trusted peer sent it."""
    request = Request(RequestBody(lambda: None, lambda: None))
    for name, value in headers:
        request.add_header(name.encode(), value.encode("latin-1"))
    Proxies(TRUSTED, "forwarded" if family == "forwarded" else "x-forwarded").read(request, peer)
    return request


@pytest.mark.parametrize(
    ("chain", "client"),
    [
        (None, PEER),
        ("", PEER),
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        # What the client itself wrote stands left of what the proxies saw.
        ("198.51.100.9, 203.0.113.7", "203.0.113.7"),
        ("127.0.0.1, 203.0.113.7, 10.1.1.1, 192.0.2.1", "203.0.113.7"),
        ("10.9.9.9, 10.1.1.1", "10.9.9.9"),
        ("203.0.113.7, fd00::1", "203.0.113.7"),
        # Nonsense ends the chain: the last one that is known counts.
        ("203.0.113.7, unknown", PEER),
        ("203.0.113.7, _hidden, 10.1.1.1", "10.1.1.1"),
        ("203.0.113.7, ' or 1=1", PEER),
        ("203.0.113.7\t,\t10.1.1.1", "203.0.113.7"),
        (", ".join(["203.0.113.7"] + ["10.1.1.1"] * (MAX_HOPS + 5)), "10.1.1.1"),
    ],
)
def test_the_client_is_the_right_most_hop_that_is_not_trusted(chain: str | None, client: str) -> None:
    headers = () if chain is None else (("X-Forwarded-For", chain),)
    assert read(*headers).address == client


def test_several_lines_are_one_chain() -> None:
    assert (
        read(("X-Forwarded-For", "198.51.100.9"), ("X-Forwarded-For", "203.0.113.7, 10.2.2.2")).address == "203.0.113.7"
    )


def test_scheme_and_host_are_the_nearest_proxys_word() -> None:
    request = read(("X-Forwarded-Proto", "http, https"), ("X-Forwarded-Host", "evil.test, zenml.example.test"))
    assert (request.scheme, request.host) == (b"https", b"zenml.example.test")
    request = read(("X-Forwarded-Proto", "gopher"), ("X-Forwarded-Host", ""))
    assert (request.scheme, request.host) == (None, None)


def test_only_the_configured_family_is_believed() -> None:
    both: tuple[tuple[str, str], ...] = (("X-Forwarded-For", "198.51.100.9"), ("X-Forwarded-Host", "evil.test"))
    both += (("Forwarded", 'for=203.0.113.7;host="zenml.example.test";proto=https'),)
    request = read(*both, family="forwarded")
    assert (request.address, request.scheme, request.host) == ("203.0.113.7", b"https", b"zenml.example.test")
    request = read(*both)
    assert (request.address, request.scheme, request.host) == ("198.51.100.9", None, b"evil.test")


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("for=203.0.113.7", "203.0.113.7"),
        ('For="203.0.113.7:4711"', "203.0.113.7"),
        ('for="[2001:db8::1]:4711";proto=https', "2001:db8::1"),
        ("for=198.51.100.9, for=203.0.113.7;by=10.0.0.1", "203.0.113.7"),
        ('for="198.51.100.9, for=1.1.1.1", for=203.0.113.7', "203.0.113.7"),
        ("for=unknown", PEER),
        ("for=_secret, for=10.4.4.4", "10.4.4.4"),
        ("proto=https", PEER),
        (";;;,,,===", PEER),
        ('for="203.0.113.7', PEER),
    ],
)
def test_forwarded(value: str, client: str) -> None:
    assert read(("Forwarded", value), family="forwarded").address == client


def test_networks() -> None:
    assert len(parse_networks(["10.0.0.0/8", " ::1 "])) == 2
    for wrong in ("10.0.0.0/33", "proxy.example.test", "", "10.0.0.1/8"):
        with pytest.raises(ValueError, match="is no address and no range"):
            parse_networks([wrong])
    assert not Proxies(()).trusts("127.0.0.1")
    assert Proxies(("127.0.0.1",)).trusts("::ffff:127.0.0.1")
    assert not Proxies(("127.0.0.1",)).trusts("unix")


def test_nobody_else_is_believed() -> None:
    async def test() -> None:
        async with world(trusted_proxies=("10.0.0.0/8",)) as w:
            spoof = (("X-Forwarded-For", "10.0.0.1"), ("X-Forwarded-Host", "evil.test"), ("Forwarded", "for=10.0.0.1"))
            assert (await w.ask("GET", "/t/acme/one/x", AUTH, *spoof)).status == 200
            seen = w.tenant.seen[-1]
            assert (seen.get("x-forwarded-for"), seen.get("x-forwarded-host")) == ("127.0.0.1", "localhost")
            assert w.log()[-1]["address"] == "127.0.0.1"

    run(test)


def test_a_trusted_proxys_client_is_what_everybody_sees() -> None:
    async def test() -> None:
        options: dict[str, Any] = {"public_url": "https://zenml.example.test", "trusted_proxies": ("127.0.0.0/8",)}
        async with world(**options, max_connections_per_address=1) as w:
            told: tuple[tuple[str, str], ...] = (
                ("X-Forwarded-For", "1.1.1.1, 203.0.113.7"),
                ("X-Forwarded-Proto", "https"),
            )
            told += (("X-Forwarded-Host", "zenml.example.test"),)
            # All connections come from the one address of the proxy.
            first, second = await w.connect(), await w.connect()
            assert (await w.ask("GET", "/t/acme/one/x", AUTH, *told, host="inner:8440")).status == 200
            seen = w.tenant.seen[-1]
            assert seen.get("x-forwarded-for") == "203.0.113.7"
            assert seen.get("host") == "zenml.example.test"
            assert seen.get("x-forwarded-proto") == "https"
            assert w.log()[-1]["address"] == "203.0.113.7"
            first.close()
            second.close()

    run(test)


def test_a_connection_of_a_proxy_carries_requests_of_many() -> None:
    async def test() -> None:
        async with world(trusted_proxies=("127.0.0.0/8",)) as w:
            client = await w.connect()
            for address in ("203.0.113.7", "203.0.113.8", "203.0.113.7"):
                client.send(f"GET /x HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: {address}\r\n\r\n".encode())
                await client.receive()
                assert w.api.seen[-1].get("x-forwarded-for") == address
            client.close()

    run(test)


def test_plain_http_in_front_of_a_trusted_proxy_is_led_to_tls() -> None:
    async def test() -> None:
        options: dict[str, Any] = {
            "public_url": "https://zenml.example.test", "trusted_proxies": ("127.0.0.0/8",),
            "tenant_hosts": "{tenant}--{organization}.zenml.example.test",
        }  # fmt: skip
        async with world(**options) as w:
            plain = ("X-Forwarded-Proto", "http")
            reply = await w.ask("GET", "/x?y=1", plain, host="zenml.example.test")
            assert (reply.status, reply.get("location")) == (308, "https://zenml.example.test/x?y=1")
            assert reply.get("strict-transport-security") is None
            reply = await w.ask("GET", "/x", plain, host="one--acme.zenml.example.test:80")
            assert (reply.status, reply.get("location")) == (308, "https://one--acme.zenml.example.test/x")
            reply = await w.ask("GET", "//evil.test/", plain, host="evil.test")
            assert (reply.status, reply.get("location")) == (308, "https://zenml.example.test//evil.test/")
            reply = await w.ask("POST", "/api/v1/auth/login", plain, AUTH, host="zenml.example.test", body=b"x")
            assert reply.status == 403
            assert "https://zenml.example.test" in reply.error()[1]
            assert not w.api.seen
            secure = await w.ask("GET", "/x", ("X-Forwarded-Proto", "https"), host="zenml.example.test")
            assert (secure.status, secure.get("strict-transport-security")) == (200, "max-age=31536000")

    run(test)


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match="'nginx' is no address and no range"):
        Proxies(("nginx",))
