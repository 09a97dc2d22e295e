"""nagaya doctor, the machine: limits and features of the kernel, the disk's inodes and speed, time zone, sandboxes."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from nagaya.cli.findings import Finding, State, existing
from nagaya.runtime.config import PlatformConfig

PR_GET_CHILD_SUBREAPER = 37  # prctl(2)
FILES_ERROR, FILES_WARNING = 1024, 8192
"""Every tenant holds a socket, every request two."""
BACKLOG = 1024
INODES_ERROR, INODES_WARNING = 0.01, 0.05
SYNC_ERROR, SYNC_WARNING = 0.5, 0.05
"""Seconds that one durable write may take: every change of the control plane waits for at least one."""
SYNCS = 10


def check_subreaper(_config: PlatformConfig) -> Iterator[Finding]:
    """prctl(PR_SET_CHILD_SUBREAPER), by which the keeper hears of tenants' processes that lost their parent."""
    if ctypes.CDLL(None).prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(ctypes.c_int()), 0, 0, 0) == 0:
        yield Finding("subreaper", "ok", "Processes can adopt orphans (child subreaper).")
    else:
        yield Finding("subreaper", "error", "The kernel has no child subreaper.", "Use Linux 5.3 or newer.")


def check_cgroups(_config: PlatformConfig) -> Iterator[Finding]:
    """Version 2 of control groups, by which memory and processor time can be limited."""
    controllers = Path("/sys/fs/cgroup/cgroup.controllers")
    try:
        found = controllers.read_text().split()
    except OSError:
        text = "There are no control groups of version 2: nothing limits the memory of a tenant."
        yield Finding("cgroups", "notice", text, "Boot with systemd.unified_cgroup_hierarchy=1.")
        return
    yield Finding("cgroups", "ok", f"Control groups of version 2 ({', '.join(found) or 'no controllers'}).")


def check_open_files(_config: PlatformConfig) -> Iterator[Finding]:
    """The limit on open files, which is one on tenants and connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 1 << 62 if hard == resource.RLIM_INFINITY else hard
    state: State = "error" if count < FILES_ERROR else "warning" if count < FILES_WARNING else "ok"
    shown = "Any number of" if count == 1 << 62 else f"At most {hard}"
    advice = "" if state == "ok" else "Raise it: `ulimit -Hn`, or LimitNOFILE= in systemd."
    yield Finding("open_files", state, f"{shown} files may be open in one process.", advice)


def check_sockets(config: PlatformConfig) -> Iterator[Finding]:
    """Unix sockets: how many connections may wait, and whether their paths fit."""
    waiting = int(Path("/proc/sys/net/core/somaxconn").read_text())
    if waiting < BACKLOG:
        text = f"Only {waiting} connections may wait at a socket: bursts of requests are refused."
        yield Finding("sockets", "warning", text, f"sysctl net.core.somaxconn={BACKLOG}")
    else:
        where = "" if config.run_dir.is_relative_to(config.data_dir) else f" Sockets lie in {config.run_dir}."
        yield Finding("sockets", "ok", f"{BACKLOG} connections may wait at a socket.{where}")


def check_inodes(config: PlatformConfig) -> Iterator[Finding]:
    """Free inodes below the data directory."""
    status = os.statvfs(existing(config.data_dir))
    if not status.f_files:
        yield Finding("inodes", "ok", "The file system has no limit on the number of files.")
        return
    free = status.f_favail / status.f_files
    state: State = "error" if free < INODES_ERROR else "warning" if free < INODES_WARNING else "ok"
    advice = "" if state == "ok" else "Remove files, or move the data directory."
    yield Finding("inodes", state, f"{free:.0%} of the file system's inodes are free.", advice)


def check_sync(config: PlatformConfig) -> Iterator[Finding]:
    """How long a durable write takes."""
    place = existing(config.data_dir)
    if not os.access(place, os.W_OK):
        return  # Another check says so.
    times = []
    with tempfile.TemporaryFile(dir=place) as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            times.append(time.perf_counter() - began)
    took = sorted(times)[SYNCS // 2]
    state: State = "error" if took > SYNC_ERROR else "warning" if took > SYNC_WARNING else "ok"
    advice = "" if state == "ok" else "Use a local disk with a write cache that survives a loss of power."
    yield Finding("sync", state, f"A durable write takes {took * 1000:.1f} ms.", advice)


def check_time_zone(_config: PlatformConfig) -> Iterator[Finding]:
    """The time zone: logs are in UTC whatever it is, but a name that nobody knows is a mistake."""
    name = os.environ.get("TZ", "").removeprefix(":")
    if name and not name.startswith("/"):
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            text = f"TZ={name} names no time zone that this system knows."
            yield Finding("time_zone", "warning", text, "Correct TZ, or install tzdata.")
            return
    yield Finding("time_zone", "ok", f"The time zone is {time.tzname[0]}; logs and the API are in UTC.")


def check_sandbox(_config: PlatformConfig) -> Iterator[Finding]:
    """bubblewrap, for code that users bring."""
    if shutil.which("bwrap"):
        yield Finding("sandbox", "ok", "bubblewrap is installed.")
    else:
        text = "bubblewrap is not installed: users' code could not be put into a sandbox without root."
        yield Finding("sandbox", "notice", text, "apt-get install bubblewrap")


CHECKS = (
    check_subreaper,
    check_cgroups,
    check_open_files,
    check_sockets,
    check_inodes,
    check_sync,
    check_time_zone,
    check_sandbox,
)
