"""The fork server of one engine: imports and warms ZenML once, then forks a tenant process for each order.

    python -m nagaya_tenant.zygote CONTROL_SOCKET [--template PATH]

Single-threaded, and it stays so: only then is a fork without exec safe. It never opens a tenant's file, and hands the
order with its secrets to the child without parsing it.
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
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nagaya_tenant.standby import Standby

LEAST_SECONDS = 1.0
"""A missing standby is made again after so long."""
LONGEST_MESSAGE = 1 << 18
# Commands other than `spawn` carry no secrets and are the only messages that this process looks into.
LONGEST_COMMAND = 1 << 10
MOST_DESCRIPTORS = 8
BACKLOG = 16
# EX_CONFIG of <sysexits.h>: this engine cannot be forked; the keeper starts its tenants plainly.
EXIT_UNSUPPORTED = 78


class Zygote:
    """Answers the keeper on the control socket.

    Args:
        control: Listening SOCK_SEQPACKET socket.
        run_child: What a forked process does with message, descriptors and time of receipt; it does not return.
        threads: Counts this process's threads.
        standby: Takes over if this process is killed.
    """

    def __init__(
        self,
        control: socket.socket,
        run_child: Callable[[bytes, Sequence[int], float], NoReturn],
        threads: Callable[[], int],
        standby: Standby,
    ) -> None:
        self._control = control
        self._run_child = run_child
        self._threads = threads
        self._standby = standby
        self._buffer = bytearray(LONGEST_MESSAGE)
        self._stopping = False
        self._take_office()

    def _take_office(self) -> None:
        """Sets up what belongs to this very process: signals, the selector, and no children yet."""
        control = self._control
        self._children: set[int] = set()
        self._peers: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)
        self._wake, self._alarm = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._alarm, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._request_stop())

    def _let_go(self) -> None:
        """Closes, in the standby, what connects the zygote with the keeper: its end must be seen at once."""
        for peer in self._peers:
            peer.close()
        self._selector.close()
        os.close(self._wake)
        os.close(self._alarm)

    def serve(self) -> None:
        """Serves until a stop signal or the command `quit`; the children live on."""
        while not self._stopping:
            if self._standby.tend(self._let_go):
                self._take_office()
                continue
            pause = None if self._standby.pid is not None else LEAST_SECONDS
            for key, _ in self._selector.select(pause):
                if key.fileobj is self._control:
                    self._accept()
                elif key.fileobj == self._wake:
                    self._reap()
                elif isinstance(key.fileobj, socket.socket):
                    self._receive(key.fileobj)
        self._standby.end()

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
                if self._standby.gone(pid):
                    continue
                self._children.discard(pid)
                note = {"exit": pid, "status": os.waitstatus_to_exitcode(status)}
                for peer in tuple(self._peers):
                    self._send(peer, note)

    def _receive(self, peer: socket.socket) -> None:
        received = time.monotonic()
        descriptors: list[int] = []
        length = 0
        try:
            length, whole = self._read(peer, descriptors)
            if not length:
                self._drop(peer)
            elif not whole:
                self._send(peer, {"error": f"The message is longer than {LONGEST_MESSAGE} bytes."})
            elif descriptors:
                self._send(peer, self._spawn(length, descriptors, received))
            else:
                self._send(peer, self._command(length))
        except ConnectionError:
            self._drop(peer)
        finally:
            # Children forked later must not find one tenant's secrets in memory that they inherit.
            self._buffer[:length] = bytes(length)
            for descriptor in descriptors:
                os.close(descriptor)

    def _read(self, peer: socket.socket, descriptors: list[int]) -> tuple[int, bool]:
        space = socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize)
        length, ancillary, flags, _ = peer.recvmsg_into([self._buffer], space, socket.MSG_CMSG_CLOEXEC)
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                numbers = array.array("i")
                numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
                descriptors.extend(numbers)
        return length, not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC)

    def _command(self, length: int) -> dict[str, Any]:
        if length > LONGEST_COMMAND:
            return {"error": "A spawn order needs its three descriptors."}
        try:
            command = json.loads(self._buffer[:length]).get("cmd")
        except (ValueError, AttributeError):
            return {"error": "The message is not a JSON object."}
        if command == "ping":
            return {"ok": True, "pid": os.getpid(), "children": len(self._children)}
        if command == "quit":
            self._stopping = True
            return {"ok": True}
        return {"error": f"Unknown command {command!r}, or one that needs descriptors."}

    def _spawn(self, length: int, descriptors: Sequence[int], received: float) -> dict[str, Any]:
        if (count := self._threads()) > 1:
            return {"error": f"The zygote has {count} threads and cannot fork safely; restart it."}
        pid = os.fork()
        if pid == 0:
            self._run_child(bytes(self._buffer[:length]), descriptors, received)
        self._children.add(pid)
        return {"pid": pid}


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
    from nagaya_tenant import child, hooks, process, reset, standby, warm  # noqa: PLC0415 - not before the environment is set

    hooks.import_engine()
    parts = {"import": round(time.monotonic() - before, 2)}
    table = reset.Reset(engine)
    parts.update(warm.run(table, options.template))

    def run_child(message: bytes, descriptors: Sequence[int], received: float) -> NoReturn:
        status = child.EXIT_FAILED
        try:
            status = child.main(message, descriptors, received, table.forget)
        finally:
            child.exit_now(status)

    return Zygote(bind_control(options.control), run_child, process.threads, standby.Standby()), parts


if __name__ == "__main__":
    sys.exit(main())
