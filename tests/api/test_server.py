"""The servers of the api process: hardly awake while idle, and at their end at once."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Any

from fastapi import FastAPI

from nagaya import server


def test_an_idle_server_hardly_wakes_and_ends_without_waiting_for_its_next_tick() -> None:
    async def scenario() -> tuple[int, float, bytes]:
        listener = socket.create_server(("127.0.0.1", 0))
        idle = server._server(FastAPI())
        task = asyncio.create_task(idle.serve(sockets=[listener]))
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        loop: Any = asyncio.get_running_loop()
        calls = 0
        original = loop._run_once

        def counted() -> None:
            nonlocal calls
            calls += 1
            original()

        loop._run_once = counted
        await asyncio.sleep(1.5)
        loop._run_once = original
        began = time.monotonic()
        idle.should_exit = True
        await task
        with contextlib.suppress(OSError):
            listener.close()
        return calls, time.monotonic() - began, answer

    turns, ending, answer = asyncio.run(scenario())
    assert turns < 15, "uvicorn alone would need that many for its own clock"
    assert ending < 0.8
    assert b"\r\ndate: " in answer
