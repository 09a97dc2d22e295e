"""Looks at enrolled servers: real sockets that behave in one particular way, the clock, names, back-off, leases."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
import ipaddress
import json
import socket
import ssl
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from nagaya.db.base import utc_now
from nagaya.hosts import HostPattern
from nagaya.tenants import looking
from nagaya.tenants.addresses import AddressRefused, check_address, is_loopback, server_url_of
from nagaya.tenants.liveness import Liveness
from nagaya.tenants.looking import Expected, Look, look
from nagaya.tenants.models import Tenant
from nagaya.tenants.platform import platform_of
from tests.api.rbac.servers import Server, enroll
from tests.api.world import Settled

ID = uuid.UUID(int=7, version=4)
NOW = "@now@"
"""What stands in an answer for the moment at which it is sent."""


def http(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def well(**info: Any) -> dict[str, bytes]:
    said = json.dumps({"id": str(ID), "version": "0.98.0"} | info).encode()
    date = f"Date: {NOW}"
    return {"/health": http("200 OK", b'"OK"', date), "/api/v1/info": http("200 OK", said, date)}


class Answering:
    """A server that answers each path with fixed bytes, and remembers what it was sent."""

    def __init__(self, answers: dict[str, bytes], *, hang: bool = False, tls: ssl.SSLContext | None = None) -> None:
        self.answers = answers
        self.tls = tls
        self.hang = hang
        self.requests: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self._held: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            if self.hang:
                self._held.append(link)
                continue
            link.settimeout(5)
            with contextlib.suppress(OSError), contextlib.closing(self._secured(link)) as opened:
                self._answer(opened)

    def _secured(self, link: socket.socket) -> socket.socket:
        if self.tls is None:
            return link
        with link:
            return self.tls.wrap_socket(link, server_side=True)

    def _answer(self, link: socket.socket) -> None:
        request = b""
        while b"\r\n\r\n" not in request and (block := link.recv(65_536)):
            request += block
        if request:
            self.requests.append(request)
            path = request.split(b" ")[1].decode()
            date = format_datetime(utc_now(), usegmt=True)
            link.sendall(self.answers.get(path, http("404 Not Found", b"")).replace(NOW.encode(), date.encode()))

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for link in self._held:
            link.close()
        self._thread.join(5)


@contextmanager
def answering(answers: dict[str, bytes], **options: Any) -> Iterator[Answering]:
    server = Answering(answers, **options)
    try:
        yield server
    finally:
        server.close()


def looked(url: str, version: str = "0.98.0", **options: Any) -> Look:
    found = asyncio.run(look(Expected(ID, url, version), utc_now(), **({"loopback": True} | options)))
    # A connection that was left open warns here, and not in whatever test the collector happens to run in.
    gc.collect()
    return found


def test_a_server_that_is_well() -> None:
    with answering(well()) as server:
        assert looked(server.url) == Look(True)
        assert [each.split(b"\r\n")[0] for each in server.requests] == [
            b"GET /health HTTP/1.1",
            b"GET /api/v1/info HTTP/1.1",
        ]
        sent = b"".join(server.requests).lower()
        assert b"authorization" not in sent
        assert b"cookie" not in sent
    with answering({f"/zenml{path}": answer for path, answer in well().items()}) as server:
        assert looked(f"{server.url}/zenml") == Look(True)


@pytest.mark.parametrize(
    ("answers", "alive", "words"),
    [
        (well(version="0.75.1"), True, "another version answers"),
        (well(id=str(uuid.uuid4())), True, "Another ZenML server answers"),
        ({"/health": http("200 OK", b"")}, True, ""),
        (well() | {"/api/v1/info": http("200 OK", b"[" * 9000)}, True, ""),
        (well() | {"/api/v1/info": http("200 OK", b"[]")}, True, ""),
        (well() | {"/health": http("200 OK", b"", "Date: Mon, 23 Nov 2020 10:00:00 GMT")}, True, "minutes behind"),
        (well() | {"/health": http("200 OK", b"", "Date: Mon, 23 Nov 2099 10:00:00 GMT")}, True, "minutes ahead"),
        (well() | {"/health": http("200 OK", b"", "Date: whenever")}, True, ""),
        ({}, False, "does not answer as a ZenML server"),
        ({"/health": http("302 Found", b"", "Location: /other")}, False, "does not answer as a ZenML server"),
        ({"/health": http("500 Oops", b"the secret is 42")}, False, "does not answer as a ZenML server"),
        ({"/health": http("200 OK", b"x" * 70_000)}, False, "does not answer as a ZenML server"),
        ({"/health": b"SSH-2.0-OpenSSH_9.6\r\n"}, False, "not HTTP"),
        ({"/health": b""}, False, "not HTTP"),
    ],
)
def test_servers_that_are_something_else(answers: dict[str, bytes], alive: bool, words: str) -> None:
    with answering(answers) as server:
        found = looked(server.url)
    assert found.alive == alive
    assert words in found.reason
    assert bool(words) == bool(found.reason)
    assert "42" not in found.reason


def test_servers_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering({}) as gone:
        pass
    assert "cannot be reached" in looked(gone.url).reason
    monkeypatch.setattr(looking, "TOTAL_SECONDS", 0.3)
    with answering({}, hang=True) as silent:
        assert "in time" in looked(silent.url).reason
        assert "in time" in looked(silent.url.replace("http://", "https://")).reason

    async def nowhere(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    assert "cannot be resolved" in looked("http://zenml.example.com", resolver=nowhere).reason


def self_signed(directory: Path) -> ssl.SSLContext:
    """What a server with a certificate of nobody has."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "zenml.example.com")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc_now() - dt.timedelta(days=1))
        .not_valid_after(utc_now() + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("zenml.example.com")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (directory / "server.pem").write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    return context


def test_certificates_are_verified_by_name_and_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def here(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    with answering(well(), tls=self_signed(tmp_path)) as server:
        url = server.url.replace("http://127.0.0.1", "https://zenml.example.com")
        assert looked(url, resolver=here) == Look(False, "Its TLS certificate cannot be verified.")
        trusting = ssl.create_default_context(cafile=str(tmp_path / "server.pem"))
        monkeypatch.setattr(looking, "_tls", lambda: trusting)
        assert looked(url, resolver=here) == Look(True)
        other = url.replace("zenml.example.com", "other.example.com")
        assert looked(other, resolver=here) == Look(False, "Its TLS certificate cannot be verified.")


def test_a_name_that_leads_to_where_no_server_may_be_is_not_asked() -> None:
    for address in ("169.254.169.254", "::1", "127.0.0.1", "fe80::1%eth0", "64:ff9b::a9fe:a9fe", "::ffff:127.0.0.1"):

        async def there(host: str, port: int, address: str = address) -> list[str]:
            return ["10.0.0.1", address]

        found = looked("http://zenml.example.com", loopback=False, resolver=there)
        assert not found.alive
        assert found.reason == "Its name leads to an address that no enrolled server may have."

    with answering(well()) as server:
        port = int(server.url.rpartition(":")[2])

        async def here(host: str, port: int) -> list[str]:
            return ["127.0.0.1"]

        assert looked(f"http://zenml.example.com:{port}", resolver=here) == Look(True)
        # The connection goes to the address that was checked, under the name that was asked for.
        assert f"Host: zenml.example.com:{port}".encode() in server.requests[0]


@pytest.mark.parametrize(
    "address", ["10.1.2.3", "192.168.0.1", "172.16.0.9", "203.0.113.9", "100.64.0.1", "2001:db8::1", "fd12:3456::1"]
)
def test_private_networks_are_allowed(address: str) -> None:
    check_address(ipaddress.ip_address(address), loopback=False)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "0.0.0.0", "169.254.0.1", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "fd00:ec2::254"),
        *("168.63.129.16", "100.100.100.200", "2002:7f00:1::", "::ffff:169.254.169.254"),
    ],
)
def test_special_addresses_are_not(address: str) -> None:
    with pytest.raises(AddressRefused):
        check_address(ipaddress.ip_address(address), loopback=False)


def test_loopback_is_for_platforms_that_are_there_themselves() -> None:
    for url in ("http://127.0.0.1:8440", "http://localhost:8440", "http://[::1]:8440", "http://nagaya.localhost"):
        assert is_loopback(url)
    assert not is_loopback("https://nagaya.example.com")
    local = "http://127.0.0.1:8440"
    assert server_url_of("http://127.0.0.1:8080/", local) == "http://127.0.0.1:8080"
    assert server_url_of("http://localhost:8080", local) == "http://localhost:8080"
    with pytest.raises(AddressRefused, match="platform's own"):
        server_url_of("http://127.0.0.1:8440/x", local)


def test_no_enrolled_server_has_the_host_of_a_hosted_tenant() -> None:
    platform = "https://nagaya.example.com"
    hosts = HostPattern.parse("{tenant}--{organization}.zenml.example.com", platform)
    for url in ("https://staging--acme.zenml.example.com", "http://Staging--Acme.zenml.example.com.:8080/x"):
        with pytest.raises(AddressRefused, match="own tenants"):
            server_url_of(url, platform, hosts)
    assert server_url_of("https://zenml.example.com", platform, hosts) == "https://zenml.example.com"


def find(settled: Settled, tenant_id: str) -> Tenant:
    with settled.world.state.database.read() as session:
        return session.get_one(Tenant, uuid.UUID(tenant_id))


def liveness(settled: Settled, resolver: Any = looking.resolve) -> Liveness:
    world = settled.world
    made = Liveness(world.state.database, platform_of(world.state), world.clock, resolver)
    made._loopback = True
    return made


def place(settled: Settled, server: Server, url: str) -> None:
    """Puts a server at an address of this machine, which a platform with a public name would refuse."""
    with settled.world.state.database.write() as session:
        session.get_one(Tenant, uuid.UUID(server.id)).server_url = url
        session.commit()


def test_what_was_found_is_written_and_silence_is_asked_less_often(settled: Settled) -> None:
    world, server = settled.world, enroll(settled)
    assert server.report().status_code == 200
    watch = liveness(settled)
    with answering(well(id=server.id)) as there:
        place(settled, server, there.url)
        assert asyncio.run(watch.once()) == 1
        read = server.read()
        assert (read["liveness"], read["activity"], read["state_reason"]) == ("up", "awake", "")
        assert read["last_seen"] is not None
        assert asyncio.run(watch.once()) == 0
    waits = []
    for _ in range(8):
        world.clock.time = find(settled, server.id).next_poll or world.clock.time
        assert asyncio.run(watch.once()) == 1
        waits.append((find(settled, server.id).next_poll - world.clock.time).total_seconds())  # type: ignore[operator]
    assert waits[0] > 100
    assert waits[2] > waits[1] > waits[0]
    assert waits[-1] < 4000
    read = server.read()
    # Clients may reach what the platform does not: it stays in service, with the reason beside it.
    assert (read["status"], read["liveness"], read["activity"]) == ("available", "down", "unreachable")
    assert read["state_reason"].startswith("The server does not answer: ")
    # A new start of the server is looked at soon.
    assert server.report().status_code in (200, 401)


def test_a_server_without_a_report_is_not_looked_at_and_a_deactivated_one_neither(settled: Settled) -> None:
    server = enroll(settled)
    watch = liveness(settled)
    assert asyncio.run(watch.once()) == 0
    assert server.report().status_code == 200
    settled.world.made("PATCH", f"/tenants/{server.id}/deactivate", settled.admin)
    assert asyncio.run(watch.once()) == 0


def test_two_processes_do_not_look_at_the_same_time(settled: Settled) -> None:
    server = enroll(settled)
    assert server.report().status_code == 200
    with settled.world.state.database.write() as session:
        tenant = session.get_one(Tenant, uuid.UUID(server.id))
        tenant.lease_owner = "another process"
        tenant.lease_until = settled.world.clock.time + dt.timedelta(seconds=30)
        session.commit()
    watch = liveness(settled)
    assert asyncio.run(watch.once()) == 0
    settled.world.clock.forward(31)
    with answering(well(id=server.id)) as there:
        place(settled, server, there.url)
        assert asyncio.run(watch.once()) == 1


def test_what_changed_during_a_look_is_not_overwritten(settled: Settled) -> None:
    server = enroll(settled)
    assert server.report(url="http://zenml.example.com").status_code == 200

    async def slow(host: str, port: int) -> list[str]:
        settled.world.made("PATCH", f"/tenants/{server.id}/deactivate", settled.admin)
        raise socket.gaierror(-2, "gone")

    async def both() -> int:
        return await liveness(settled, slow).once()

    assert asyncio.run(both()) == 1
    assert (server.read()["status"], server.read()["liveness"]) == ("deactivated", "unknown")


def test_a_deleted_enrolled_tenant_is_removed_after_its_seven_days(settled: Settled) -> None:
    world, server = settled.world, enroll(settled)
    world.made("PATCH", f"/tenants/{server.id}", settled.admin, json={"protected": False})
    deleted = world.made("DELETE", f"/tenants/{server.id}", settled.admin)
    assert (deleted["status"], deleted["operation"]["status"]) == ("deleted", "succeeded")
    assert server.sign_in() == 401
    watch = liveness(settled)
    asyncio.run(watch.once())
    assert find(settled, server.id).purged is None
    world.clock.forward(7 * 86_400 + 1)
    asyncio.run(watch.once())
    assert find(settled, server.id).purged is not None
    assert world.events("tenant.purge")
