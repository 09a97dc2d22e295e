"""The fork that takes a killed zygote's place; real processes, without ZenML's weight."""

from __future__ import annotations

import array
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = """
import os, pathlib, sys
from nagaya_tenant import process, standby
from nagaya_tenant.zygote import Zygote, bind_control

def child(message, descriptors, received):
    os.write(descriptors[0], message)
    os._exit(0)

Zygote(bind_control(pathlib.Path(sys.argv[1])), child, process.threads, standby.Standby()).serve()
"""
DEADLINE = 20.0


def ask(path: Path, message: dict[str, Any], *descriptors: int) -> dict[str, Any]:
    """Sends one message on a connection of its own and returns the answer; raises OSError if nobody listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
        link.settimeout(DEADLINE)
        link.connect(str(path))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        link.sendmsg([json.dumps(message).encode()], rights)
        while True:
            answer: dict[str, Any] = json.loads(link.recv(65536))
            if "exit" not in answer:  # A note about a child, which everybody who is connected gets.
                return answer


def pid_of(path: Path) -> int:
    """Waits until a zygote answers on the path and returns its process id."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            return int(ask(path, {"cmd": "ping"})["pid"])
        except (OSError, ValueError):
            assert time.monotonic() < deadline, "nobody answers"
            time.sleep(0.01)


def standby_of(zygote: int) -> int:
    """Waits until a zygote has a standby and returns its process id."""
    deadline = time.monotonic() + DEADLINE
    while True:
        for child in Path(f"/proc/{zygote}/task/{zygote}/children").read_text().split():
            with contextlib.suppress(OSError):
                if Path(f"/proc/{child}/comm").read_text().strip() == "nz-standby":
                    return int(child)
        assert time.monotonic() < deadline, "there is no standby"
        time.sleep(0.01)


def wait_gone(pid: int) -> None:
    """Waits until a process has ended; a zombie that nobody reaps has."""
    deadline = time.monotonic() + DEADLINE
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.01)


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Path]:
    """The control socket of a running zygote."""
    path = tmp_path / "z.sock"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)])
    pid_of(path)
    yield path
    # An orderly end takes the standby along; a kill would only make it take over.
    with contextlib.suppress(OSError, ValueError):
        while True:
            ask(path, {"cmd": "quit"})
            time.sleep(0.05)
    process.wait(DEADLINE)


def test_the_standby_takes_over_again_and_again(control: Path) -> None:
    seen = set()
    for _ in range(4):
        zygote = pid_of(control)
        expected = standby_of(zygote)
        os.kill(zygote, signal.SIGKILL)
        wait_gone(zygote)
        assert pid_of(control) == expected
        seen.add(zygote)
        read, write = os.pipe()
        order = {"cmd": "spawn", "name": "t"}
        assert ask(control, order, write)["pid"] > 0
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            assert json.loads(pipe.read()) == order
    assert len(seen) == 4


def test_an_orderly_end_takes_the_standby_along(control: Path) -> None:
    zygote = pid_of(control)
    standby = standby_of(zygote)
    os.kill(zygote, signal.SIGTERM)
    wait_gone(standby)
    wait_gone(zygote)
    with pytest.raises(OSError, match="refused"):
        ask(control, {"cmd": "ping"})


def test_a_killed_standby_is_made_again(control: Path) -> None:
    zygote = pid_of(control)
    standby = standby_of(zygote)
    os.kill(standby, signal.SIGKILL)
    wait_gone(standby)
    deadline = time.monotonic() + DEADLINE
    while standby_of(zygote) == standby:
        assert time.monotonic() < deadline
    assert pid_of(control) == zygote


def test_the_keeper_sees_the_death_although_the_standby_lives(control: Path) -> None:
    zygote = pid_of(control)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as link:
        link.settimeout(DEADLINE)
        link.connect(str(control))
        link.send(b'{"cmd": "ping"}')
        link.recv(65536)
        # The next standby is made while this connection is open, and must not keep what it inherits of it.
        first = standby_of(zygote)
        os.kill(first, signal.SIGKILL)
        wait_gone(first)
        standby_of(zygote)
        os.kill(zygote, signal.SIGKILL)
        assert link.recv(65536) == b""
