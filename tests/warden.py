"""Runs a command, adopts every process that it leaves behind, and fails if one still runs when the command has ended.

python -m tests.warden COMMAND…

As subreaper (prctl(2)) it becomes the parent of whatever loses its own parent below it, daemons included, so that
nothing can get away. Leftovers are named and killed, and the exit code is then 99.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path

LEFTOVERS = 99
GRACE_SECONDS = 5.0
PR_SET_CHILD_SUBREAPER = 36


def reap() -> dict[int, int]:
    """Collects the children that have ended: their exit codes by pid."""
    ended = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def descendants() -> dict[int, str]:
    """The command lines of all living processes below this one, by pid."""
    parents, found = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] not in "ZX":
                parents[int(entry.name)] = int(fields[1])
                found[int(entry.name)] = line
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return {pid: found[pid] for pid in ours if pid in found and pid != os.getpid()}


def end_leftovers() -> bool:
    """Waits a moment for what is just ending, then names and kills the rest; whether there was a rest."""
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := descendants()) and time.monotonic() < deadline:
        reap()
        time.sleep(0.05)
    for pid, line in left.items():
        print(f"left behind: process {pid}: {line}", flush=True)
    while remaining := descendants():
        for pid in remaining:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    reap()
    return bool(left)


def main() -> int:
    """Runs the command; returns its exit code, or 99 when it left processes behind."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become the reaper of orphaned processes")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The command decides what an interrupt means.
    command = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, setsigdef=[signal.SIGINT])
    code = None
    while code is None:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        code = reap().get(command)
    code = 128 - code if code < 0 else code
    return LEFTOVERS if end_leftovers() and code in (0, 1) else code


if __name__ == "__main__":
    sys.exit(main())
