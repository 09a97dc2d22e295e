"""Processes seen from outside: identity by pid, start time and boot, exit by pidfd, and one reaper for all children."""

from __future__ import annotations

import asyncio
import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Self

PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
PR_SET_NO_NEW_PRIVS = 38
PR_SET_PDEATHSIG = 1
KILL_SECONDS = 10.0
_libc = ctypes.CDLL(None, use_errno=True)


@cache
def boot_id() -> str:
    """Return the identity of this boot: start times count from it, so records of an earlier boot mean nothing."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def become_subreaper() -> None:
    """Make orphaned descendants children of this process (prctl PR_SET_CHILD_SUBREAPER)."""
    if _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become the reaper of orphaned processes")


def _in_child(*, restricted: bool, die_with_parent: bool) -> None:
    """Run in a child before exec. Restricted: set-user-id programs give it nothing from here on."""
    if restricted and _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot forbid new privileges")
    # Set after the change of user, which would clear it (prctl(2)).
    if die_with_parent and _libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot be tied to the parent")


def _stat(pid: int) -> tuple[str, list[str]] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    name, _, rest = text.partition("(")[2].rpartition(")")
    return name, rest.split()


def start_time(pid: int) -> int | None:
    """Return when the process started (clock ticks since boot, proc(5) field 22), or None if it is gone or a zombie."""
    stat = _stat(pid)
    return None if stat is None or stat[1][0] in "ZX" else int(stat[1][19])


def process_name(pid: int) -> str | None:
    """Return the name that the process gave itself (at most 15 characters)."""
    stat = _stat(pid)
    return None if stat is None else stat[0]


def parent(pid: int) -> int | None:
    """Return the parent's pid."""
    stat = _stat(pid)
    return None if stat is None else int(stat[1][1])


def command_line(pid: int) -> list[str]:
    """Return the arguments of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except (FileNotFoundError, ProcessLookupError):
        return []


def all_pids() -> Iterator[int]:
    """Yield the ids of all processes that can be seen."""
    for entry in os.scandir("/proc"):
        if entry.name.isdecimal():
            yield int(entry.name)


@dataclass(frozen=True)
class ProcessIdentity:
    """A process that cannot be confused with a later one of the same number."""

    pid: int
    start: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """Return the identity of a living process, or None."""
        start = start_time(pid)
        return None if start is None else cls(pid, start, boot_id())

    @classmethod
    def from_json(cls, value: Any) -> Self | None:
        """Read what `to_json` made; None when it is missing or damaged."""
        try:
            return cls(int(value["pid"]), int(value["start"]), str(value["boot"]))
        except (TypeError, KeyError, ValueError):
            return None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that records this identity."""
        return {"pid": self.pid, "start": self.start, "boot": self.boot}

    def alive(self) -> bool:
        """Tell whether exactly this process still runs."""
        return self.boot == boot_id() and start_time(self.pid) == self.start


class Watched:
    """A living process held by a pidfd: signals cannot hit another one, its end is an event."""

    def __init__(self, identity: ProcessIdentity, descriptor: int | None) -> None:
        self.identity = identity
        self.pid = identity.pid
        self._descriptor = descriptor
        self.exited = asyncio.Event()
        if descriptor is None:
            self.exited.set()
        else:
            asyncio.get_running_loop().add_reader(descriptor, self._on_exit)

    @classmethod
    def open(cls, identity: ProcessIdentity) -> Self | None:
        """Watch `identity`; None when it no longer runs."""
        try:
            descriptor = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            return None
        if not identity.alive():
            os.close(descriptor)
            return None
        return cls(identity, descriptor)

    @classmethod
    def ended(cls, pid: int) -> Self:
        """Stand for a process that was gone before it could be watched."""
        return cls(ProcessIdentity(pid, 0, boot_id()), None)

    def _on_exit(self) -> None:
        self.close()
        self.exited.set()

    def signal(self, number: int) -> None:
        """Send a signal; silent when the process is gone."""
        if self._descriptor is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    async def stop(self, grace: float) -> bool:
        """Send SIGTERM, after `grace` seconds SIGKILL, and wait for the end; True when SIGTERM was enough."""
        self.signal(signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self.exited.wait(), grace)
            return True
        self.signal(signal.SIGKILL)
        await self.exited.wait()
        return False

    def close(self) -> None:
        """Stop watching; the process is left alone."""
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None


class Reaper:
    """Collects the exit status of every child, also of those inherited as subreaper."""

    def __init__(self) -> None:
        self._children: dict[int, subprocess.Popen[bytes]] = {}
        self._statuses: dict[int, tuple[int, float]] = {}

    def install(self) -> None:
        """Reap on SIGCHLD, and at once what ended earlier."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGCHLD, self.reap)
        self.reap()

    def reap(self) -> None:
        """Collect all children that have ended."""
        now = time.monotonic()
        self._statuses = {pid: item for pid, item in self._statuses.items() if now - item[1] < 60}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            self._statuses[pid] = (code, now)
            child = self._children.pop(pid, None)
            if child is not None:
                child.returncode = code

    def status(self, pid: int) -> int | None:
        """Return the exit code of a child that ended in the last minute (negative: signal), or None if unknown."""
        self.reap()
        item = self._statuses.get(pid)
        return None if item is None else item[0]

    def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        output: int,
        stdout: int | None = None,
        pass_fds: Sequence[int] = (),
        user: int | None = None,
        cwd: Path | None = None,
        die_with_parent: bool = False,
    ) -> Watched:
        """Start a child in a session of its own; `output` receives stderr (and stdout unless given).

        `user` is the user and group id to become, for good and without supplementary groups. With
        `die_with_parent` it gets SIGTERM when this process dies.
        Raises OSError when it cannot be started.
        """
        child = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output if stdout is None else stdout,
            stderr=output,
            pass_fds=pass_fds,
            start_new_session=True,
            cwd=cwd,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            umask=0o077,
            # Safe: the processes that start children here have no other thread that could hold a lock.
            preexec_fn=partial(_in_child, restricted=user is not None, die_with_parent=die_with_parent)  # noqa: PLW1509
            if user is not None or die_with_parent
            else None,
        )
        self._children[child.pid] = child
        # The child cannot vanish before it is reaped, so its identity is exact even when it has already ended.
        stat = _stat(child.pid)
        start = int(stat[1][19]) if stat else 0
        return Watched(ProcessIdentity(child.pid, start, boot_id()), os.pidfd_open(child.pid))


def wait_exit(descriptor: int, seconds: float) -> bool:
    """Wait (blocking) for the end of the process behind a pidfd; False when it still runs."""
    poll = select.poll()  # Unlike select(2) it takes descriptors above 1023.
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0.0, seconds) * 1000))


def kill_and_wait(pids: set[int], grace: float = 0.0) -> None:
    """End processes and wait (blocking) until they are gone: SIGTERM first if they get `grace` seconds, SIGKILL."""
    descriptors = {}
    for pid in pids:
        with suppress(ProcessLookupError):
            descriptors[pid] = os.pidfd_open(pid)
    steps = [(signal.SIGTERM, grace), (signal.SIGKILL, KILL_SECONDS)] if grace > 0 else [(signal.SIGKILL, KILL_SECONDS)]
    try:
        for number, seconds in steps:
            for descriptor in descriptors.values():
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(descriptor, number)
            deadline = time.monotonic() + seconds
            for descriptor in descriptors.values():
                wait_exit(descriptor, deadline - time.monotonic())
    finally:
        for descriptor in descriptors.values():
            os.close(descriptor)


def user_of(pid: int) -> int | None:
    """Return the real user id of a process, or None when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    line = next(line for line in status.splitlines() if line.startswith("Uid:"))
    return int(line.split()[1])


def descendants_of_user(uid: int) -> set[int]:
    """Return the living descendants of this process that run as `uid`: what a tenant left behind comes to us."""
    parents = {pid: parent(pid) for pid in all_pids()}
    found = set()
    for pid, above in parents.items():
        ancestor = above
        while ancestor is not None and ancestor != os.getpid():
            ancestor = parents.get(ancestor)
        if ancestor is not None and user_of(pid) == uid and start_time(pid) is not None:
            found.add(pid)
    return found


def end_user(uid: int, rounds: int = 20) -> None:
    """Kill (blocking) all descendants of this process that run as `uid`, also those that are forked meanwhile."""
    for _ in range(rounds):
        if not (pids := descendants_of_user(uid)):
            return
        kill_and_wait(pids)


def describe_exit(code: int | None) -> str:
    """Say how a process ended, from its exit code (negative: signal number)."""
    if code is None:
        return "ended"
    if code < 0:
        with suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
        return f"was ended by signal {-code}"
    return f"ended with code {code}"
