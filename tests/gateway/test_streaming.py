"""Bodies in both directions: bounded memory, back-pressure, events at once, second attempts, time-outs, shutdown."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import psutil
import pytest

from tests.gateway.harness import AUTH, Seen, World, answer, head, obedient, run, until, world

MB = 1024 * 1024


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def raw_upstream(w: World, serve: Serve) -> asyncio.Server:
    """Replace the api by a server that handles its connections itself."""
    await w.api.stop()

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    return await asyncio.start_unix_server(connection, w.api.path)


def rss() -> int:
    """Resident memory of this process, in which the gateway runs."""
    return psutil.Process().memory_info().rss


def test_300_mb_up_and_down_through_little_memory() -> None:
    size = 300 * MB

    async def test() -> None:
        async with world(api_max_body_bytes=size) as w:
            received = 0

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                nonlocal received
                await reader.readuntil(b"\r\n\r\n")
                while received < size:
                    received += len(await reader.read(MB))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                for _ in range(300):
                    writer.write(bytes(MB))
                    await writer.drain()
                writer.close()

            server = await raw_upstream(w, serve)
            client = await w.connect()
            before = peak = rss()
            client.send(head("POST", "/x", ("Content-Length", str(size))))
            for _ in range(300):
                client.send(bytes(MB))
                await client.writer.drain()
                peak = max(peak, rss())
            await client.reader.readuntil(b"\r\n\r\n")
            got = 0
            while got < size:
                got += len(await client.reader.read(MB))
                peak = max(peak, rss())
            assert received == got == size
            assert peak - before < 24 * MB
            server.close()

    run(test)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_slow_reader_slows_the_upstream_instead_of_filling_memory(framing: str) -> None:
    async def test() -> None:
        async with world() as w:
            produced = 0

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                nonlocal produced
                await reader.readuntil(b"\r\n\r\n")
                kind = b"Content-Length: %d" % (64 * MB) if framing == "length" else b"Transfer-Encoding: chunked"
                writer.write(b"HTTP/1.1 200 OK\r\n" + kind + b"\r\n\r\n")
                for _ in range(1024):
                    writer.write(bytes(65536) if framing == "length" else b"10000\r\n" + bytes(65536) + b"\r\n")
                    await writer.drain()
                    produced += 65536
                writer.write(b"" if framing == "length" else b"0\r\n\r\n")

            server = await raw_upstream(w, serve)
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
                sock.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(sock, ("127.0.0.1", w.port))
                await loop.sock_sendall(sock, head("GET", "/x"))
                last = -1
                while produced != last:
                    last = produced
                    await asyncio.sleep(0.15)
                assert 0 < produced < 8 * MB
                connection = next(iter(w.gateway.connections))
                assert connection.transport is not None
                assert connection.transport.get_write_buffer_size() < MB
                got = 0
                while got < 64 * MB:
                    data = await loop.sock_recv(sock, MB)
                    assert data
                    got += len(data)
            server.close()

    run(test)


def test_a_slow_upstream_slows_the_client() -> None:
    async def test() -> None:
        async with world() as w:
            go = asyncio.Event()
            received = 0

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                nonlocal received
                await reader.readuntil(b"\r\n\r\n")
                await go.wait()
                while received < 32 * MB:
                    received += len(await reader.read(MB))
                writer.write(answer(b"done"))

            server = await raw_upstream(w, serve)
            client = await w.connect()
            client.send(head("POST", "/x", ("Content-Length", str(32 * MB))))
            sent = 0

            async def send() -> None:
                nonlocal sent
                for _ in range(512):
                    client.send(bytes(65536))
                    await client.writer.drain()
                    sent += 65536

            sending = asyncio.create_task(send())
            last = -1
            while sent != last:
                last = sent
                await asyncio.sleep(0.15)
            assert sent < 16 * MB
            go.set()
            await sending
            assert (await client.receive()).body == b"done"
            server.close()

    run(test)


def test_events_pass_without_delay() -> None:
    async def test() -> None:
        async with world() as w:
            latencies: list[float] = []

            async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                for _number in range(20):
                    event = b"data: %.6f\n\n" % time.perf_counter()
                    writer.write(b"%x\r\n%s\r\n" % (len(event), event))
                    await writer.drain()
                    await asyncio.sleep(0.005)
                writer.write(b"0\r\n\r\n")

            w.tenant.behave = behave
            client = await w.connect()
            client.send(head("GET", "/t/acme/one/events", AUTH))
            await client.reader.readuntil(b"\r\n\r\n")
            for _ in range(20):
                line = (await client.reader.readuntil(b"\n\n")).rpartition(b"data: ")[2]
                latencies.append(time.perf_counter() - float(line))
                await client.reader.readline()
            assert sorted(latencies)[10] < 0.05

    run(test)


def test_a_client_that_leaves_ends_the_upstream_request() -> None:
    async def test() -> None:
        async with world() as w:
            left = asyncio.Event()

            async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
                writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
                await writer.drain()
                while not writer.transport.is_closing():
                    writer.write(b"3\r\nabc\r\n")
                    await asyncio.sleep(0.01)
                left.set()

            w.tenant.behave = behave
            client = await w.connect()
            client.send(head("GET", "/t/acme/one/events", AUTH))
            await client.reader.readuntil(b"abc")
            client.close()
            async with asyncio.timeout(5):
                await left.wait()
            route = next(iter(w.gateway.table._by_id.values()))
            await until(lambda: route.gate.in_flight == 0)

    run(test)


def test_connections_are_reused_newest_first_and_not_for_ever() -> None:
    async def test() -> None:
        async with world(pool_idle_seconds=0.3) as w:
            for _ in range(10):
                await w.ask("GET", "/x")
            assert w.api.connections == 1
            await until(lambda: not w.api.writers, seconds=3)
            await w.ask("GET", "/x")
            assert w.api.connections == 2

    run(test)


@pytest.mark.parametrize(
    ("method", "body", "status"),
    [("GET", b"", 200), ("PUT", b"x" * 1000, 200), ("POST", b"x", 502), ("PUT", b"x" * 200_000, 502)],
)
def test_a_kept_connection_that_dies_is_replaced_where_that_is_harmless(method: str, body: bytes, status: int) -> None:
    async def test() -> None:
        async with world() as w:
            await w.ask("GET", "/warm")

            async def die_once(seen: Seen, writer: asyncio.StreamWriter) -> None:
                w.api.behave = obedient
                writer.transport.abort()

            w.api.behave = die_once
            reply = await w.ask(method, "/x", body=body)
            assert reply.status == status
            attempts = [seen for seen in w.api.seen if seen.target == "/x"]
            assert len(attempts) == (2 if status == 200 else 1)
            if status == 200:
                assert attempts[0].body == attempts[1].body == body
            elif method == "POST":
                assert "may or may not" in reply.error()[1]

    run(test)


def test_a_second_failure_is_reported() -> None:
    async def die(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async def test() -> None:
        async with world() as w:
            w.api.behave = die
            assert (await w.ask("GET", "/x")).status == 502
            assert len(w.api.seen) == 2

    run(test)


def test_an_early_answer_is_passed_on_and_the_rest_of_the_body_swallowed() -> None:
    async def test() -> None:
        async with world() as w:

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer(b"no thanks", 403))
                await writer.drain()
                writer.close()

            server = await raw_upstream(w, serve)
            client = await w.connect()
            client.send(head("POST", "/x", ("Content-Length", str(8 * MB))) + bytes(65536))
            reply = await client.receive()
            assert (reply.status, reply.get("connection")) == (403, "close")
            await client.closed()
            server.close()

    run(test)


def test_slow_heads_bodies_and_idle_connections_time_out() -> None:
    async def test() -> None:
        async with world(header_seconds=0.2, stall_seconds=0.3, idle_seconds=0.5, linger_seconds=0.2) as w:
            slow = await w.connect()
            slow.send(b"GET / HTTP/1.1\r\nHost:")
            stalled = await w.connect()
            stalled.send(head("POST", "/x", ("Content-Length", "10")) + b"abc")
            idle = await w.connect()
            idle.send(head("GET", "/x"))
            assert (await idle.receive()).status == 200
            assert (await slow.receive()).status == 408
            assert (await stalled.receive()).status == 408
            assert await idle.closed() == b""
            await slow.closed()
            await until(lambda: not w.gateway.connections)
            await until(lambda: w.api.errors == ["incomplete body"])

    run(test)


def test_answers_and_readers_that_never_come_time_out() -> None:
    async def never(_: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async def flood(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        while not writer.transport.is_closing():
            writer.write(bytes(MB))
            await writer.drain()

    async def test() -> None:
        async with world(response_seconds=0.3, stall_seconds=0.5) as w:
            w.api.behave = never
            assert (await w.ask("GET", "/x")).status == 504
            w.api.behave = flood
            client = await w.connect()
            cast("asyncio.Transport", client.writer.transport).pause_reading()
            client.send(head("GET", "/y"))
            await until(lambda: any(connection.answering for connection in w.gateway.connections))
            await until(lambda: not w.gateway.connections)

    run(test)


def test_connection_bounds() -> None:
    async def test() -> None:
        async with world(max_connections_per_address=3) as w:
            clients = [await w.connect() for _ in range(3)]
            await until(lambda: w.gateway.limits.count == 3)
            refused = await w.connect()
            assert (await refused.receive()).status == 503
            clients[0].close()
            await until(lambda: w.gateway.limits.count == 2)
            assert (await w.ask("GET", "/health")).status == 200

    run(test)


def test_shutdown_lets_answers_finish_and_closes_the_rest() -> None:
    async def test() -> None:
        release = asyncio.Event()

        async def behave(seen: Seen, writer: asyncio.StreamWriter) -> None:
            await release.wait()
            writer.write(answer(b"late"))

        async with world(drain_seconds=3) as w:
            w.api.behave = behave
            idle = await w.connect()
            await until(lambda: w.gateway.connections)
            busy = await w.connect()
            busy.send(head("GET", "/x"))
            await until(lambda: w.api.seen)
            stopping = asyncio.create_task(w.gateway.stop())
            assert await idle.closed() == b""
            with pytest.raises(OSError, match="Connect"):
                await asyncio.open_connection("127.0.0.1", w.port)
            release.set()
            reply = await busy.receive()
            assert (reply.body, reply.get("connection")) == (b"late", "close")
            await stopping

    run(test)


def test_shutdown_does_not_wait_for_ever() -> None:
    async def never(_: Seen, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async def test() -> None:
        async with world(drain_seconds=0.1) as w:
            w.api.behave = never
            client = await w.connect()
            client.send(head("GET", "/x"))
            await until(lambda: w.api.seen)
            await w.gateway.stop()
            assert await client.closed() == b""

    run(test)


def test_nothing_is_left_open() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def die(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        writer.transport.abort()

    async def test() -> None:
        async with world(pool_idle_seconds=0.2) as w:
            await w.ask("GET", "/x")
            await until(lambda: not w.gateway.connections and not w.api.writers)
            before = descriptors()
            for n in range(60):
                w.api.behave = die if n % 3 == 0 else obedient
                client = await w.connect()
                client.send(head("GET", "/x") if n % 2 else b"nonsense\r\n\r\n")
                if n % 5:
                    await client.reader.read(100)
                client.close()
            await until(lambda: not w.gateway.connections and not w.api.writers)
            await until(lambda: descriptors() <= before)

    run(test)


def test_the_log_tells_what_happened_without_secrets() -> None:
    async def test() -> None:
        async with world() as w:
            await w.ask("GET", "/t/acme/one/x?secret=1", AUTH, ("X-Request-ID", "abc"))
            line = next(line for line in w.log() if line["event"] == "request")
            assert line.pop("ms") >= 0
            assert line.pop("time") > 0
            assert line.pop("sent") > 53
            assert line == {
                "event": "request",
                "request_id": "abc",
                "address": "127.0.0.1",
                "tenant": "11111111-1111-4111-8111-111111111111",
                "route": "tenant",
                "method": "GET",
                "path": "/t/acme/one/x",
                "status": 200,
                "received": 0,
            }

    run(test)


def test_a_fault_in_the_gateway_concerns_one_request_only(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with world() as w:
            client = await w.connect()
            with monkeypatch.context() as patch:
                patch.setattr(w.gateway, "_dispatch", lambda *_: 1 / 0)
                client.send(head("GET", "/x"))
                reply = await client.receive()
            assert (reply.status, reply.error()[0]) == (500, "InternalError")
            assert "division" not in reply.body.decode()
            assert any("ZeroDivisionError" in line.get("error", "") for line in w.log())
            assert (await w.ask("GET", "/x")).status == 200

    run(test)


def test_an_api_that_answers_500_is_not_ready() -> None:
    async def behave(_: Seen, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(b"x" * 300_000, 500))

    async def test() -> None:
        async with world() as w:
            w.api.behave = behave
            assert (await w.ask("GET", "/ready")).status == 503

    run(test)
