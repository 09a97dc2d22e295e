"""The fork server of one engine: imports and warms ZenML once, then forks a tenant process for each order.

    python -m nagaya_tenant.zygote CONTROL_SOCKET [--template PATH]

Single-threaded, and it stays so: only then is a fork without exec safe. It never opens a tenant's file and hands
secrets from the order to the child without looking at them.
"""

from __future__ import annotations

import argparse
import array
import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nagaya_tenant.reset import Reset

LONGEST_MESSAGE = 1 << 18
BACKLOG = 16
# EX_CONFIG of <sysexits.h>: this engine cannot be forked; the keeper starts its tenants plainly.
EXIT_UNSUPPORTED = 78


class Zygote:
    """Answers the keeper on the control socket.

    Args:
        control: Listening SOCK_SEQPACKET socket.
        reset: The reset of this engine, for the children.
    """

    def __init__(self, control: socket.socket, reset: Reset) -> None:
        self._control = control
        self._reset = reset
        self._children: dict[int, str] = {}
        self._peers: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._wake, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._request_stop())
        self._stopping = False

    def serve(self) -> None:
        """Serves until a stop signal or the command `quit`; the children live on."""
        while not self._stopping:
            for key, _ in self._selector.select():
                if key.fileobj is self._control:
                    self._accept()
                elif key.fileobj == self._wake:
                    self._reap()
                elif isinstance(key.fileobj, socket.socket):
                    self._receive(key.fileobj)

    def _request_stop(self) -> None:
        self._stopping = True

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            peer, _ = self._control.accept()
            self._peers.add(peer)
            self._selector.register(peer, selectors.EVENT_READ)

    def _drop(self, peer: socket.socket) -> None:
        self._selector.unregister(peer)
        self._peers.discard(peer)
        peer.close()

    def _send(self, peer: socket.socket, message: dict[str, Any]) -> None:
        try:
            peer.send(json.dumps(message).encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            # A peer that is gone, or that does not read; closing tells it that it has missed something.
            self._drop(peer)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = found
                note = {"exit": pid, "name": self._children.pop(pid, ""), "status": os.waitstatus_to_exitcode(status)}
                for peer in tuple(self._peers):
                    self._send(peer, note)

    def _receive(self, peer: socket.socket) -> None:
        descriptors: list[int] = []
        try:
            message = _receive_message(peer, descriptors)
            if not message:
                self._drop(peer)
                return
            self._send(peer, self._answer(message, descriptors))
        except ConnectionError:
            self._drop(peer)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _answer(self, message: bytes, descriptors: Sequence[int]) -> dict[str, Any]:
        received = time.monotonic()
        try:
            command = json.loads(message).get("cmd")
        except (ValueError, AttributeError):
            return {"error": "The message is not a JSON object."}
        if command == "spawn":
            return self._spawn(message, descriptors, received)
        if command == "ping":
            return {"ok": True, "pid": os.getpid(), "children": len(self._children)}
        if command == "quit":
            self._stopping = True
            return {"ok": True}
        return {"error": f"Unknown command {command!r}."}

    def _spawn(self, message: bytes, descriptors: Sequence[int], received: float) -> dict[str, Any]:
        from nagaya_tenant import child, process, spawn, stamp  # noqa: PLC0415 - the first import must stay cheap

        if len(descriptors) != spawn.DESCRIPTORS:
            return {"error": f"A spawn order needs {spawn.DESCRIPTORS} descriptors, not {len(descriptors)}."}
        try:
            order = spawn.SpawnOrder.from_json(message)
        except (spawn.SpawnError, stamp.StampError) as error:
            return {"error": str(error)}
        if (count := process.threads()) > 1:
            return {"error": f"The zygote has {count} threads and cannot fork safely; restart it."}
        pid = os.fork()
        if pid == 0:
            status = child.EXIT_FAILED
            try:
                status = child.run(order, descriptors, received, self._reset.forget)
            finally:
                child.exit_now(status)
        self._children[pid] = order.name
        return {"pid": pid}


def _receive_message(peer: socket.socket, descriptors: list[int]) -> bytes:
    message, ancillary, flags, _ = peer.recvmsg(LONGEST_MESSAGE, socket.CMSG_SPACE(8 * 4), socket.MSG_CMSG_CLOEXEC)
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            numbers = array.array("i")
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
            descriptors.extend(numbers)
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        return b"truncated"
    return message


def bind_control(path: Path) -> socket.socket:
    """Binds the control socket so that only its owner can ever connect."""
    path.unlink(missing_ok=True)
    control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = os.umask(0o177)
    try:
        control.bind(str(path))
    finally:
        os.umask(before)
    control.listen(BACKLOG)
    control.setblocking(False)
    return control


def main(arguments: Sequence[str] | None = None) -> int:
    """Starts the fork server; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m nagaya_tenant.zygote", description=__doc__.splitlines()[0])
    parser.add_argument("control", type=Path)
    parser.add_argument("--template", type=Path, default=Path(sys.prefix) / "nagaya" / "template.db")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    # Whatever ZenML prints belongs to the log; standard output carries the one line that says "ready".
    announce = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Without collections the heap stays compact until it is frozen, so that children share its pages.
    gc.disable()

    from nagaya_tenant import profile, version  # noqa: PLC0415

    try:
        engine = version.installed()
        version.require_forkable(engine)
        profile.use_placeholders(os.environ)
        zygote, parts = _prepare(engine, options)
    except version.UnsupportedEngineError as error:
        print(error, file=sys.stderr, flush=True)  # noqa: T201 - the reason, as the log's last line
        return EXIT_UNSUPPORTED
    except Exception as error:
        import traceback  # noqa: PLC0415

        traceback.print_exc()
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201 - likewise
        return 1
    line = {"ready": True, "version": engine, "pid": os.getpid(), "seconds": round(time.monotonic() - started, 2)}
    with announce:
        announce.write(json.dumps({**line, "parts": parts}) + "\n")
    zygote.serve()
    return 0


def _prepare(engine: str, options: argparse.Namespace) -> tuple[Zygote, dict[str, float]]:
    before = time.monotonic()

    from nagaya_tenant import child, reset, warm  # noqa: F401, PLC0415

    parts = {"import": round(time.monotonic() - before, 2)}
    table = reset.Reset(engine)
    parts.update(warm.run(table, options.template))
    return Zygote(bind_control(options.control), table), parts


if __name__ == "__main__":
    sys.exit(main())
