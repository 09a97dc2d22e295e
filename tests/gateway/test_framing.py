"""HTTP framing: smuggling attempts, limits, pipelining, and what upstreams that lie can do."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
import pytest

from nagaya.gateway.settings import GatewaySettings
from tests.gateway.harness import AUTH, Seen, answer, head, run, until, world

HOST = b"Host: localhost\r\n"
SMUGGLE = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (
            b"POST / HTTP/1.1\r\n"
            + HOST
            + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            + SMUGGLE,
            400,
        ),
        (
            b"POST / HTTP/1.1\r\n"
            + HOST
            + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
            + SMUGGLE,
            400,
        ),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length:\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 9999999999999999\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length : 3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLE, 501),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + SMUGGLE, 501),
        (
            b"POST / HTTP/1.1\r\n"
            + HOST
            + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
            400,
        ),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n" + SMUGGLE, 400),
        (b"POST / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X y: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: localhost\n\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Authorization: a\r\nAuthorization: b\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"TRACE / HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"PROPFIND / HTTP/1.1\r\n" + HOST + b"\r\n", 501),
        (b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Expect: a-miracle\r\n\r\n", 417),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 90_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 200000, 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"".join(b"X-%d: a\r\n" % n for n in range(101)) + b"\r\n", 431),
    ],
)
def test_malformed_requests_are_refused_and_never_forwarded(raw: bytes, status: int) -> None:
    async def test() -> None:
        async with world() as w:
            client = await w.connect()
            client.send(raw)
            reply = await client.receive()
            assert reply.status == status
            assert reply.get("connection") == "close"
            assert isinstance(reply.error()[1], str)
            assert await client.closed() == b""
            assert not w.api.seen
            assert not w.api.errors

    run(test)


def test_chunk_framing_is_made_anew_and_trailers_are_dropped() -> None:
    async def test() -> None:
        async with world() as w:
            client = await w.connect()
            client.send(head("POST", "/x", ("Transfer-Encoding", "Chunked"), ("Trailer", "X-T")))
            client.send(b"3;ext=1\r\nabc\r\n02\r\nde\r\n0\r\nX-T: 1\r\nAuthorization: Bearer x\r\n\r\n")
            assert (await client.receive()).json()["length"] == 5
            assert w.api.seen[0].names().isdisjoint({"x-t", "authorization", "trailer"})
            client.send(head("GET", "/y"))
            assert (await client.receive()).json()["target"] == "/y"

    run(test)


def test_chunks_that_are_mostly_overhead_are_refused() -> None:
    async def test() -> None:
        async with world() as w:
            client = await w.connect()
            client.send(
                head("POST", "/x", ("Transfer-Encoding", "chunked")) + (b"1;" + b"e" * 4000 + b"\r\na\r\n") * 100
            )
            assert (await client.receive()).status == 400

    run(test)


def test_a_body_that_breaks_off_in_framing_answers_400_and_ends_the_upstream_request() -> None:
    async def test() -> None:
        async with world() as w:
            client = await w.connect()
            client.send(head("POST", "/x", ("Transfer-Encoding", "chunked")) + b"3\r\nabc\r\n")
            await until(lambda: w.api.connections)
            client.send(b"zz\r\n")
            assert (await client.receive()).status == 400
            await until(lambda: w.api.errors)
            assert not w.api.seen

    run(test)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
        if seen.target == "/0":
            await asyncio.sleep(0.05)
        writer.write(answer(seen.target.encode() + seen.body))

    async def test() -> None:
        async with world() as w:
            w.api.behave = behave
            client = await w.connect()
            requests = [
                head("POST", f"/{n}", ("Content-Length", "3")) + b"abc" if n % 2 else head("GET", f"/{n}")
                for n in range(2000)
            ]
            client.send(b"".join(requests) + b"nonsense\r\n\r\n")
            for n in range(2000):
                assert (await client.receive()).body == b"/%d" % n + (b"abc" if n % 2 else b"")
            assert (await client.receive()).status == 400
            await client.closed()
            assert [seen.target for seen in w.api.seen] == [f"/{n}" for n in range(2000)]
            assert w.api.connections <= 3

    run(test)


def test_requests_that_arrive_byte_by_byte() -> None:
    async def test() -> None:
        async with world() as w:
            client = await w.connect()
            for byte in b"\r\n" + head("POST", "/slow?q=1", ("Content-Length", "2")) + b"ab":
                client.send(bytes([byte]))
                await client.writer.drain()
                await asyncio.sleep(0)
            assert (await client.receive()).json() == {"method": "POST", "target": "/slow?q=1", "length": 2}

    run(test)


@pytest.mark.parametrize(("status", "method"), [(200, "HEAD"), (204, "GET"), (304, "GET")])
def test_answers_without_body_keep_the_connection(status: int, method: str) -> None:
    async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
        length = b"" if status == 204 else b"Content-Length: 500\r\n"
        writer.write(b"HTTP/1.1 %d X\r\n%s\r\n" % (status, length))

    async def test() -> None:
        async with world() as w:
            w.api.behave = behave
            client = await w.connect()
            for _ in range(3):
                client.send(head(method, "/x"))
                reply = await client.receive(method)
                assert (reply.status, reply.body) == (status, b"")
                assert reply.get("content-length") == (None if status == 204 else "500")
            assert w.api.connections == 1

    run(test)


def test_http_1_0_gets_a_plain_answer_and_a_closed_connection() -> None:
    async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    async def test() -> None:
        async with world() as w:
            w.api.behave = behave
            client = await w.connect()
            client.send(b"GET /x HTTP/1.0\r\n\r\n")
            raw = await client.closed()
            assert raw.endswith(b"\r\n\r\nabc")
            assert b"chunked" not in raw.lower()

    run(test)


def test_continue_is_said_once_the_body_is_wanted() -> None:
    async def test() -> None:
        async with world(api_max_body_bytes=10) as w:
            client = await w.connect()
            client.send(head("POST", "/x", ("Content-Length", "3"), ("Expect", "100-continue")))
            assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            client.send(b"abc")
            assert (await client.receive()).json()["length"] == 3
            assert w.api.seen[0].get("expect") is None
            client.send(head("POST", "/x", ("Content-Length", "11"), ("Expect", "100-continue")))
            assert (await client.receive()).status == 413

    run(test)


def test_bodies_beyond_the_limit() -> None:
    async def test() -> None:
        async with world(route={"max_body_bytes": 100_000}) as w:
            client = await w.connect()
            client.send(head("POST", "/t/acme/one/x", AUTH, ("Content-Length", "100001")))
            assert (await client.receive()).status == 413
            assert not w.tenant.connections
            client = await w.connect()
            client.send(head("POST", "/t/acme/one/x", AUTH, ("Transfer-Encoding", "chunked")))
            for _ in range(101):
                client.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
            assert (await client.receive()).status == 413
            assert not w.tenant.seen
            reply = await w.ask("POST", "/t/acme/one/x", AUTH, body=b"x" * 100_000)
            assert reply.json()["length"] == 100_000

    run(test)


BAD_ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000,
    b"nonsense\r\n\r\n",
    b"",
]


@pytest.mark.parametrize("raw", BAD_ANSWERS)
def test_upstreams_that_break_the_rules_are_not_passed_on(raw: bytes) -> None:
    async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        if not raw:
            writer.close()

    async def test() -> None:
        async with world() as w:
            w.api.behave = behave
            client = await w.connect()
            client.send(head("POST", "/x", ("Content-Length", "0")))
            reply = await client.receive()
            assert (reply.status, reply.error()[0]) == (502, "BadGateway")
            w.api.behave = good
            client.send(head("GET", "/x"))
            assert (await client.receive()).status == 200

    run(test)


async def good(_: Seen, writer: asyncio.StreamWriter) -> None:
    """Answers properly."""
    writer.write(answer(b"good"))


def test_a_second_answer_that_nobody_asked_for_reaches_nobody() -> None:
    async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"first") + answer(b"forged"))

    async def test() -> None:
        async with world() as w:
            w.api.behave = behave
            client = await w.connect()
            for _ in range(5):
                client.send(head("GET", "/x"))
                assert (await client.receive()).body == b"first"
            assert w.api.connections == 5

    run(test)


def test_interim_answers_are_dropped() -> None:
    async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer(b"final"))

    async def test() -> None:
        async with world() as w:
            w.api.behave = behave
            client = await w.connect()
            for _ in range(2):
                client.send(head("GET", "/x"))
                reply = await client.receive()
                assert (reply.status, reply.body, reply.get("link")) == (200, b"final", None)

    run(test)


@pytest.mark.parametrize("framing", [b"Content-Length: 10", b"Transfer-Encoding: chunked"])
def test_an_answer_that_breaks_off_is_seen_to_be_incomplete(framing: bytes) -> None:
    async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        writer.close()

    async def test() -> None:
        async with world() as w:
            w.api.behave = behave
            client = await w.connect()
            client.send(head("GET", "/x"))
            with pytest.raises(h11.RemoteProtocolError):
                await client.receive()
            assert len(w.api.seen) == 1

    run(test)


def test_an_answer_that_ends_with_the_connection_is_complete() -> None:
    async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")
        await writer.drain()
        writer.close()

    async def test() -> None:
        async with world() as w:
            w.api.behave = behave
            assert (await w.ask("GET", "/x")).body == b"until the end"

    run(test)


def test_settings_are_checked() -> None:
    sockets: dict[str, Any] = {"keeper_socket": "k", "api_socket": "a", "internal_socket": "i"}
    with pytest.raises(ValueError, match="public_url"):
        GatewaySettings(public_url="nagaya.example", **sockets)
    with pytest.raises(ValueError, match="wake_seconds"):
        GatewaySettings(public_url="http://x", wake_seconds=-1, **sockets)
