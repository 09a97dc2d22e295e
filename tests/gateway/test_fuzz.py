"""Arbitrary bytes at the door: no crash, no hang, upstream never other requests than an independent parser reads."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import h11
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.gateway.harness import World, run, until, world

LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /a HTTP/1.1\r\n",
        b"GET /b HTTP/1.0\r\n",
        b"HEAD /c HTTP/1.1\r\n",
        b"GET /t/acme/one/x HTTP/1.1\r\n",
        b"Host: localhost\r\n",
        b"Host: localhost\r\n",
        b"Host: evil\r\n",
        b"\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"content-length:3\r\n",
        b"Content-Length: 5, 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-encoding:\tchunked \r\n",
        b"Transfer-Encoding: x, chunked\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"fffffffff\r\n",
        b"hello",
        b"hel",
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        b"Connection: content-length\r\n",
        b"Upgrade: websocket\r\nConnection: upgrade\r\n",
        b"Expect: 100-continue\r\n",
        b" folded\r\n",
        b"X: \x00\r\n",
        b"X\x80: y\r\n",
        b"GET http://localhost/ HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"GET / HTTP/1.1 \r\n",
        b"GET / RTSP/1.0\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"\x16\x03\x01",
    ]
)
COMPLETE = [
    b"GET /one HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"POST /two HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /three HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"PUT /four HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nhe\r\n0\r\nX: y\r\n\r\n",
]
WELL_FORMED = st.sampled_from(COMPLETE)
PIECES = st.lists(st.one_of(LINES, WELL_FORMED, st.binary(max_size=20)), max_size=14)


@st.composite
def mutated(draw: st.DrawFn) -> list[bytes]:
    """Well-formed requests with a few bytes changed."""
    raw = bytearray(b"".join(draw(st.lists(WELL_FORMED, min_size=1, max_size=4))))
    for _ in range(draw(st.integers(0, 4))):
        position = draw(st.integers(0, len(raw) - 1))
        if draw(st.booleans()):
            raw[position : position + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
        else:
            raw[position] = draw(st.sampled_from(list(b"\r\n :0;,\t\x00/")))
        if not raw:
            break
    cut = draw(st.integers(0, len(raw)))
    return [bytes(raw[:cut]), bytes(raw[cut:])]


def read_by_h11(raw: bytes) -> list[tuple[str, str, bytes]]:
    """All complete requests that h11 reads in `raw`: (method, target, body), an independent opinion."""
    requests: list[tuple[str, str, bytes]] = []
    # llhttp takes RTSP and ICE for HTTP of the same version; that is harmless, since the request line is written anew.
    rest = raw.replace(b" RTSP/", b" HTTP/").replace(b" ICE/", b" HTTP/")
    while rest := rest.lstrip(b"\r\n"):  # RFC 9112 section 2.2 lets a server ignore empty lines before a request.
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=10**6)
        parser.receive_data(rest)
        method, target, body = "", "", b""
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError:
                return requests
            if isinstance(event, h11.Request):
                method, target = event.method.decode(), event.target.decode()
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                requests.append((method, target, body))
                break
            else:
                return requests
        rest = parser.trailing_data[0]
    return requests


async def send_and_wait(w: World, pieces: list[bytes]) -> None:
    """Send, then wait until the gateway has closed: its time-outs are short here."""
    client = await w.connect()
    try:
        for piece in pieces:
            client.send(piece)
            await client.writer.drain()
            await asyncio.sleep(0)
        await client.closed(seconds=5)
    except ConnectionError:
        pass
    finally:
        client.close()
    w.clients.remove(client)
    await until(lambda: not w.gateway.connections)


def complete(pieces: list[bytes]) -> bool:
    """Whether a list consists of whole requests only."""
    return bool(pieces) and all(piece in COMPLETE for piece in pieces)


def check(w: World, raw: bytes) -> None:
    """What arrived upstream must be a subsequence of what h11 reads, and never broken."""
    for prefix, upstream in (("/t/acme/one", w.tenant), ("", w.api)):
        oracle = iter(read_by_h11(raw))
        for seen in upstream.seen:
            assert any((seen.method, prefix + seen.target, seen.body) == expected for expected in oracle), (raw, seen)
    assert all(error == "incomplete body" for error in w.api.errors + w.tenant.errors), (raw, w.api.errors)
    assert not [line for line in w.log() if line["event"] == "error"]


EXAMPLES = int(os.environ.get("NAGAYA_FUZZ_EXAMPLES", "25"))
"""More of them make a long proof."""

QUICK: dict[str, Any] = {
    "header_seconds": 0.05,
    "stall_seconds": 0.05,
    "idle_seconds": 0.05,
    "linger_seconds": 0.0,
    "response_seconds": 3.0,
    "sweep_seconds": 0.03,
}


def fuzz(batch: list[list[bytes]]) -> None:
    """Send each of the batch to one gateway; whole requests must all arrive."""

    async def test() -> None:
        async with world(**QUICK) as w:
            for pieces in batch:
                for upstream in (w.api, w.tenant):
                    upstream.seen.clear()
                    upstream.errors.clear()
                # Whole requests go out at once, so that no time-out can come between them.
                await send_and_wait(w, [b"".join(pieces)] if complete(pieces) else pieces)
                check(w, b"".join(pieces))
                if complete(pieces):
                    assert len(w.api.seen) == len(pieces)
            client = await w.connect()
            client.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await client.receive()).status == 200

    run(test)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.one_of(PIECES, st.lists(WELL_FORMED, max_size=6), mutated()), min_size=4, max_size=12))
def test_bytes_of_any_kind(batch: list[list[bytes]]) -> None:
    fuzz(batch)
