"""Operating-system side of a tenant process: descriptors, session, user, and what other processes may see of it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

LISTEN, POLICY, READY = 3, 4, 5
FIRST_UNUSED = 6

# Linux <linux/prctl.h>
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, argument: int | bytes) -> None:
    """Calls prctl(2).

    Raises:
        OSError: If the kernel refuses.
    """
    value = ctypes.c_char_p(argument) if isinstance(argument, bytes) else ctypes.c_ulong(argument)
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}) failed: {os.strerror(number)}")


def trim_heap() -> None:
    """Gives free heap pages back, so that they are not copied into every fork (glibc only; elsewhere nothing)."""
    if (trim := getattr(_libc, "malloc_trim", None)) is not None:
        trim(0)


def threads() -> int:
    """Returns how many threads this process has, those of C libraries included."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - names only, without a Path for each


def open_files() -> dict[int, str]:
    """Returns what each open descriptor of this process points to."""
    found: dict[int, str] = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found[int(entry.name)] = str(entry.readlink())
        except FileNotFoundError:
            continue  # The descriptor of this very listing.
    return found


def detach(descriptors: Sequence[int]) -> None:
    """Leaves the parent's signals, session and descriptors behind; the given ones become 3, 4 and 5.

    Args:
        descriptors: Listening socket, policy file, write end of the readiness pipe.

    Raises:
        ValueError: If there are not three.
    """
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # Copies above the targets first: a given descriptor may have the number that another one must get.
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, FIRST_UNUSED) for descriptor in descriptors]
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0, inheritable=True)
    for target, descriptor in zip((LISTEN, POLICY, READY), high, strict=True):
        os.dup2(descriptor, target, inheritable=False)
    os.closerange(FIRST_UNUSED, os.sysconf("SC_OPEN_MAX"))
    if os.getsid(0) != os.getpid():
        os.setsid()
    os.umask(0o077)


def become(uid: int | None, name: str) -> None:
    """Takes the tenant's own user and gives up every way back; afterwards no other user can look into the process.

    Args:
        uid: User and group id, or None without root.
        name: Name for the process list (15 bytes are shown).

    Raises:
        OSError: If the user cannot be changed.
    """
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    prctl(PR_SET_NAME, name.encode()[:15])
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    # Without this a process of the same user could read our memory and /proc/<pid>/environ. It comes after the change
    # of user, which resets it.
    prctl(PR_SET_DUMPABLE, 0)


def redirect_output(log: Path) -> None:
    """Sends standard output and error to `log`; called as the tenant's user, so a planted link gives nothing away.

    Raises:
        OSError: If the file cannot be opened or is a symbolic link.
    """
    log.parent.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.dup2(descriptor, 1, inheritable=True)
    os.dup2(descriptor, 2, inheritable=True)
    os.close(descriptor)
