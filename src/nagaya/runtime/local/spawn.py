"""Starting a tenant's process: by its engine's zygote or plainly, with the same descriptors either way."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nagaya.engines import catalog, errors
from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.local.adoption import stray_tenants, stray_zygotes
from nagaya.runtime.local.processes import ProcessIdentity, Reaper, Watched, kill_and_wait
from nagaya.runtime.local.zygote_link import ZygoteLink, ZygoteLostError
from nagaya.runtime.local.zygotes import ZygotePool

ZYGOTE_TRIES = 2
READY_LIMIT = 4 * 1024 * 1024


class SpawnError(Exception):
    """A tenant's process could not be started; the message says why."""


@dataclass
class Child:
    """A process that was started; `ready` is the read end of its pipe."""

    process: Watched
    how: str
    ready: int
    timings: dict[str, float] = field(default_factory=dict)

    async def answer(self, limit: float) -> dict[str, Any] | None:
        """Return the one line that the child writes; None when it ended without one. Raises TimeoutError."""
        reader = asyncio.StreamReader(limit=READY_LIMIT)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self.ready, "rb")
        )
        try:
            async with asyncio.timeout(limit):
                line = await reader.readline()
        finally:
            transport.close()
        try:
            value = json.loads(line)
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


class Spawner:
    """Starts processes for tenants."""

    def __init__(self, config: PlatformConfig, pool: ZygotePool, reaper: Reaper) -> None:
        self._config, self._pool, self._reaper = config, pool, reaper

    async def spawn(self, engine: str, message: dict[str, Any], listener: socket.socket, policy: Path) -> Child:
        """Start the process that `message` describes.

        Raises SpawnError when the engine is missing or its zygote refuses.
        """
        policy_fd = os.open(policy, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fds = (listener.fileno(), policy_fd)
            child = await self._fork(engine, message, fds)
            return child if child is not None else self._plain(engine, message, fds)
        finally:
            os.close(policy_fd)

    async def _fork(self, engine: str, message: dict[str, Any], fds: tuple[int, int]) -> Child | None:
        """Let the zygote fork; None when there is no usable zygote."""
        for attempt in range(ZYGOTE_TRIES):
            began = time.monotonic()
            zygote = await self._pool.ensure(engine)
            if zygote is None:
                raise SpawnError(self._pool.engines.missing(engine) or f"The engine {engine} cannot be used.")
            link = await zygote.ready()
            if link is None and (problem := self._pool.unusable(engine)) is not None:
                raise SpawnError(problem)
            if attempt:
                self._end_forks(message["name"])
            if link is None:
                return None
            waited = time.monotonic()
            try:
                with _ready_pipe() as (ready, write):
                    process = await self._request(link, message, (*fds, write))
            except ZygoteLostError:
                continue
            timings = {"zygote": _milliseconds(began, waited), "fork": _milliseconds(waited, time.monotonic())}
            return Child(process, "zygote", ready, timings)
        self._end_forks(message["name"])
        return None

    def _end_forks(self, name: str) -> None:
        """End what a zygote forked before it was lost: nobody would know that process.

        Those that have not named themselves yet are looked for first, so that none slips through between the two.
        """
        run_dir = self._config.run_dir
        kill_and_wait(stray_zygotes(run_dir, known=self._pool.pids()) | stray_tenants(run_dir, name=name))

    async def _request(self, link: ZygoteLink, message: dict[str, Any], fds: tuple[int, ...]) -> Watched:
        answer = await link.request(message, fds, limit=self._config.start_timeout)
        if "pid" not in answer:
            raise SpawnError(f"the zygote refused: {answer.get('error', 'no reason given')}")
        pid = int(answer["pid"])
        identity = ProcessIdentity.of(pid)
        process = None if identity is None else Watched.open(identity)
        # One that has ended already may have left its reason in the pipe.
        return Watched.ended(pid) if process is None else process

    def _plain(self, engine: str, message: dict[str, Any], fds: tuple[int, int]) -> Child:
        found = catalog.find(self._config.engines_dir, engine)
        if found is None:
            raise SpawnError(errors.not_installed(engine))
        began = time.monotonic()
        mark = socket_name(fds[0])
        log = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            with _ready_pipe() as (ready, write):
                passed = (*fds, write)
                environment = {"NAGAYA_SPAWN": json.dumps(message), "NAGAYA_FDS": ",".join(map(str, passed))}
                process = self._reaper.start(
                    [str(found.python), "-m", "nagaya_tenant.plain", mark],
                    environment=self._pool.environment() | environment,
                    output=log,
                    pass_fds=passed,
                    cwd=Path("/"),
                )
        finally:
            os.close(log)
        return Child(process, "plain", ready, {"exec": _milliseconds(began, time.monotonic())})


@contextmanager
def _ready_pipe() -> Iterator[tuple[int, int]]:
    """Make the pipe of one try; its write end is closed at the end, its read end only when the try failed.

    One pipe for several tries would let the line of a child that was given up count as its successor's.
    """
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        yield read, write
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)


def socket_name(descriptor: int) -> str:
    """Return the path that a listening unix socket is bound to."""
    with socket.socket(fileno=os.dup(descriptor)) as duplicate:
        return str(duplicate.getsockname())


def _milliseconds(began: float, ended: float) -> float:
    return round((ended - began) * 1000, 2)
