"""TLS at the gateway: what is spoken, bounded handshakes, renewals, and the port that shows the way to it."""

import asyncio
import datetime as dt
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from harness.authority import Authority
from nagaya.gateway.access_log import Log
from nagaya.gateway.tls import Certificate, server_context
from nagaya.tls import CertificateError, own_context, read_leaf, shortcomings, wanted_hosts
from tests.gateway.harness import AUTH, Client, World, head, run, until, world

NAME = "zenml.example.test"
PUBLIC = f"https://{NAME}"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whose certificates clients trust."""
    return Authority(tmp_path / "authority")


@pytest.fixture
def options(authority: Authority) -> dict[str, Any]:
    """Settings of a gateway that speaks TLS."""
    certificate, key = authority.issue(NAME, f"*.{NAME}")
    return {
        "public_url": PUBLIC, "tls_certificate": str(certificate), "tls_key": str(key),
        "tenant_hosts": f"{{tenant}}--{{organization}}.{NAME}",
    }  # fmt: skip


async def connect(w: World, context: ssl.SSLContext, name: str = NAME) -> Client:
    """A client connection over TLS."""
    client = Client(*await asyncio.open_connection("127.0.0.1", w.port, ssl=context, server_hostname=name))
    w.clients.append(client)
    return client


def facts(client: Client) -> ssl.SSLObject:
    """What was negotiated."""
    found = client.writer.get_extra_info("ssl_object")
    assert isinstance(found, ssl.SSLObject)
    return found


def test_tls_is_spoken_and_told(authority: Authority, options: dict[str, Any]) -> None:
    async def test() -> None:
        async with world(**options) as w:
            context = authority.context()
            context.set_alpn_protocols(["h2", "http/1.1"])
            client = await connect(w, context)
            assert facts(client).version() == "TLSv1.3"
            assert facts(client).selected_alpn_protocol() == "http/1.1"
            for _ in range(2):
                client.send(head("GET", "/x", host=NAME))
                reply = await client.receive()
                assert reply.status == 200
                assert reply.get("strict-transport-security") == "max-age=31536000"
            seen = w.api.seen[-1]
            assert (seen.get("x-forwarded-proto"), seen.get("x-forwarded-port")) == ("https", "443")
            client = await connect(w, context, f"one--acme.{NAME}")
            client.send(
                head("POST", "/x", AUTH, ("Content-Length", "200000"), host=f"one--acme.{NAME}") + b"x" * 200_000
            )
            reply = await client.receive("POST")
            assert reply.json()["length"] == 200_000
            assert reply.get("strict-transport-security") == "max-age=31536000"

    run(test)


def test_old_versions_and_weak_ciphers_are_refused(authority: Authority, options: dict[str, Any]) -> None:
    async def test() -> None:
        async with world(**options) as w:
            old = authority.context()
            with pytest.warns(DeprecationWarning, match="TLSv1"):
                old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
            old.set_ciphers("ALL:@SECLEVEL=0")
            weak = authority.context()
            weak.maximum_version = ssl.TLSVersion.TLSv1_2
            weak.set_ciphers("ECDHE-ECDSA-AES128-SHA:AES128-SHA:AES128-GCM-SHA256")
            for context in (old, weak):
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await connect(w, context)
            modern = authority.context()
            modern.maximum_version = ssl.TLSVersion.TLSv1_2
            assert facts(await connect(w, modern)).version() == "TLSv1.2"

    run(test)


def test_what_is_not_tls_is_dropped_and_counts_for_nothing(options: dict[str, Any]) -> None:
    async def test() -> None:
        async with world(**options) as w:
            for junk in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 100, b"\0" * 50_000):
                client = await w.connect()
                client.send(junk)
                assert b"HTTP" not in await client.closed()
            assert not w.gateway.connections
            assert w.gateway.limits.count == 0

    run(test)


def test_handshakes_are_bounded_in_number_and_time(authority: Authority, options: dict[str, Any]) -> None:
    async def test() -> None:
        async with world(**options, max_handshakes_per_address=3, handshake_seconds=0.5) as w:
            idle = [await w.connect() for _ in range(3)]
            door = w.gateway._door
            assert door is not None
            await until(lambda: len(door._tasks) == 4)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await connect(w, authority.context())
            for client in idle:
                await client.closed(5)
            client = await connect(w, authority.context())
            client.send(head("GET", "/x", host=NAME))
            assert (await client.receive()).status == 200

    run(test)


def test_a_stop_breaks_handshakes_off_and_lets_answers_end(authority: Authority, options: dict[str, Any]) -> None:
    async def test() -> None:
        async with world(**options, drain_seconds=5) as w:
            release = asyncio.Event()

            async def slow(_: object, writer: asyncio.StreamWriter) -> None:
                await release.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

            w.api.behave = slow
            idle, busy = await w.connect(), await connect(w, authority.context())
            busy.send(head("GET", "/x", host=NAME))
            await until(lambda: w.api.seen)
            stopping = asyncio.create_task(w.gateway.stop())
            await idle.closed()
            release.set()
            assert (await busy.receive()).body == b"ok"
            await stopping

    run(test)


def test_a_renewed_certificate_is_taken_over_and_open_connections_stay(
    authority: Authority, options: dict[str, Any]
) -> None:
    async def test() -> None:
        async with world(**options, sweep_seconds=0.01) as w:
            client = await connect(w, authority.context())
            before = facts(client).getpeercert(binary_form=True)
            authority.issue(NAME)
            await until(lambda: any(line["event"] == "certificate" for line in w.log()))
            renewed = facts(await connect(w, authority.context())).getpeercert(binary_form=True)
            assert renewed != before
            client.send(head("GET", "/x", host=NAME))
            assert (await client.receive()).status == 200

    run(test)


def test_a_renewal_that_cannot_be_used_leaves_the_last_one(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.issue(NAME)
    with (tmp_path / "log").open("wb") as file:
        log = Log(file.fileno())
        held = Certificate(certificate, key, log)
        first = held.context
        assert not held.refresh()
        foreign, _ = Authority(tmp_path / "other").issue(NAME)
        certificate.write_bytes(foreign.read_bytes())
        assert not held.refresh()
        key.unlink()
        assert not held.refresh()
        assert held.context is first
        authority.issue(NAME)
        assert held.refresh()
        assert held.context is not first
        assert held.refresh(force=True)
        log.flush()
    told = (tmp_path / "log").read_text()
    assert "does not belong to the certificate" in told
    assert "PRIVATE" not in told


def test_the_port_of_plain_http_shows_the_way(options: dict[str, Any]) -> None:
    async def test() -> None:
        async with world(**options) as w:
            listening = socket.create_server(("127.0.0.1", 0))
            port = listening.getsockname()[1]
            await w.gateway.start([], [listening])

            async def ask(raw: bytes, method: str = "GET") -> tuple[int, str | None]:
                client = Client(*await asyncio.open_connection("127.0.0.1", port))
                client.send(raw)
                reply = await client.receive(method)
                client.close()
                assert reply.get("strict-transport-security") is None
                return reply.status, reply.get("location")

            assert await ask(head("GET", "/a?b=c", host=NAME)) == (308, f"{PUBLIC}/a?b=c")
            assert await ask(head("HEAD", "/", host=f"{NAME}:80"), "HEAD") == (308, f"{PUBLIC}/")
            own = f"one--acme.{NAME}"
            assert await ask(head("GET", "/api/v1/info", host=f"{own}:8080")) == (308, f"https://{own}/api/v1/info")
            for host in ("evil.test", "one--acme.evil.test", "127.0.0.1"):
                assert await ask(head("GET", "//evil.test", host=host)) == (308, f"{PUBLIC}//evil.test")
            for method in ("POST", "PUT", "DELETE", "OPTIONS"):
                raw = head(method, "/api/v1/auth/login", AUTH, ("Content-Length", "3"), host=NAME) + b"abc"
                assert await ask(raw, method) == (403, None)
            assert await ask(b"GET http://evil.test/ HTTP/1.1\r\nHost: evil.test\r\n\r\n") == (400, None)
            assert not w.api.seen
            assert not w.tenant.seen

    run(test)


@pytest.mark.parametrize(
    ("begins", "ends", "says"),
    [(-90, -1, "expired at"), (2, 90, "is not valid before"), (-1, 90, "")],
)
def test_certificates_out_of_their_time(authority: Authority, begins: int, ends: int, says: str) -> None:
    day = dt.timedelta(days=1)
    certificate, key = authority.issue(NAME, begins=begins * day, ends=ends * day)
    if not says:
        assert server_context(certificate, key).minimum_version is ssl.TLSVersion.TLSv1_2
        return
    with pytest.raises(CertificateError, match=says):
        server_context(certificate, key)


def test_files_that_cannot_be_used(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.issue(NAME)
    _, locked = authority.issue(NAME, file="locked", passphrase=b"secret")
    nameless, nameless_key = authority.issue(file="nameless")
    garbage, missing = tmp_path / "garbage.pem", tmp_path / "missing.pem"
    garbage.write_text("-----BEGIN NOTHING-----")
    cases = [
        (missing, key, "missing.pem cannot be read: No such file"),
        (certificate, missing, "missing.pem cannot be read: No such file"),
        (garbage, key, "holds no PEM certificate"),
        (key, key, "holds no PEM certificate"),
        (certificate, garbage, "holds no PEM key"),
        (certificate, locked, "is encrypted"),
        (certificate, nameless_key, "does not belong to the certificate"),
        (nameless, nameless_key, "names no host"),
    ]
    for chain, private, says in cases:
        with pytest.raises(CertificateError, match=says):
            server_context(chain, private)
    combined = tmp_path / "combined.pem"
    combined.write_bytes(key.read_bytes() + certificate.read_bytes())
    assert server_context(combined, None)
    with pytest.raises(CertificateError, match="holds no PEM key"):
        server_context(certificate, None)


def test_what_is_warned_about(authority: Authority) -> None:
    hosts = wanted_hosts(PUBLIC, f"{{tenant}}--{{organization}}.{NAME}")
    assert hosts == [NAME, f"tenant--organization.{NAME}"]
    good = authority.issue(NAME, f"*.{NAME}")
    assert list(shortcomings(*good, hosts)) == []
    narrow = authority.issue(NAME, file="narrow", ends=dt.timedelta(days=3))
    warnings = list(shortcomings(*narrow, hosts))
    assert len(warnings) == 2
    assert f"does not cover tenant--organization.{NAME}" in warnings[0]
    assert "expires at" in warnings[1]
    assert not read_leaf(good[0]).covers(f"a.b.{NAME}")
    assert read_leaf(authority.issue("127.0.0.1", file="address")[0]).covers("127.0.0.1")


def test_a_call_on_this_machine_trusts_only_the_platforms_certificate(
    authority: Authority, options: dict[str, Any]
) -> None:
    certificate = Path(options["tls_certificate"])

    async def test() -> None:
        async with world(**options) as w:
            client = await connect(w, own_context(certificate), "127.0.0.1")
            client.send(head("GET", "/x", host=NAME))
            assert (await client.receive()).status == 200
            other, _ = authority.issue(NAME, file="other")
            with pytest.raises(ssl.SSLError):
                await connect(w, own_context(other), "127.0.0.1")

    run(test)
