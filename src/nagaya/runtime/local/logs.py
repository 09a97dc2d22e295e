"""Log files: size-based rotation and reading the last lines, safe in directories that belong to a tenant."""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path

TAIL_BYTES = 256 * 1024
KEPT = 2
"""How many times the limit may be copied when a log is rotated."""


def _open_regular(name: str, flags: int, *, directory: int) -> int:
    """Open a plain file below `directory` without following a link that its owner may have planted."""
    descriptor = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise OSError(f"{name} is not a plain file")
    return descriptor


def _open_directory(path: Path, below: Path) -> int:
    """Open `path`, following no link in the part below `below`."""
    descriptor = os.open(below, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in path.relative_to(below).parts:
        try:
            following = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = following
    return descriptor


def open_log(path: Path, limit: int, files: int) -> int:
    """Open a log of ours for appending, after rotating it when it has grown beyond `limit` bytes."""
    rotate(path, limit, files, below=path.parent)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def rotate(path: Path, limit: int, files: int, *, below: Path) -> bool:
    """Copy a log beyond `limit` bytes to `<name>.1` and empty it; True when that was done.

    `<name>.1` becomes `<name>.2` before that and so on; `files` are kept (with 0 the log is only emptied). A `limit` of
    0 means that something else rotates, by copying and truncating.

    Writers keep their descriptors (all append), so nobody has to reopen; lines written between the copy and the
    truncation are lost. `below` is the innermost directory that only we can change. An absent log is no error.
    Of a log that outgrew the limit many times over only the end is kept: a tenant could make a file of any size.
    """
    if limit <= 0:
        return False
    try:
        directory = _open_directory(path.parent, below)
    except OSError:
        return False
    try:
        source = _open_regular(path.name, os.O_RDWR, directory=directory)
    except OSError:
        return False
    else:
        try:
            status = os.fstat(source)
            if status.st_size <= limit:
                return False
            _shift(path.name, files, directory=directory)
            if files > 0:
                start = max(0, status.st_size - KEPT * limit)
                _copy(source, f"{path.name}.1", start, directory=directory, owner=status)
            os.ftruncate(source, 0)
            return True
        finally:
            os.close(source)
    finally:
        os.close(directory)


def _shift(name: str, files: int, *, directory: int) -> None:
    """Make room for a new `<name>.1`: rename the old files, remove what is beyond `files`."""
    pattern = re.compile(re.escape(name) + r"\.(\d{1,6})")
    old = [int(match[1]) for match in map(pattern.fullmatch, os.listdir(directory)) if match]
    for number in sorted(old, reverse=True):
        # Names that their owner may have planted: a rename or a removal follows no link.
        if number >= files:
            with suppress(OSError):
                os.unlink(f"{name}.{number}", dir_fd=directory)
        else:
            with suppress(OSError):
                os.rename(f"{name}.{number}", f"{name}.{number + 1}", src_dir_fd=directory, dst_dir_fd=directory)


def _copy(source: int, name: str, offset: int, *, directory: int, owner: os.stat_result) -> None:
    temporary = f".{name}.tmp"
    with suppress(FileNotFoundError):
        os.unlink(temporary, dir_fd=directory)
    target = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory
    )
    try:
        if os.geteuid() == 0:
            os.fchown(target, owner.st_uid, owner.st_gid)
        # Up to the size that it had: its writer may be faster than we are.
        while (left := owner.st_size - offset) > 0 and (
            sent := os.sendfile(target, source, offset, min(left, 1 << 20))
        ):
            offset += sent
    finally:
        os.close(target)
    os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)


def tail(path: Path, lines: int, *, below: Path) -> list[str]:
    """Return the last `lines` lines (at most 256 KiB) of a log; empty when there is none."""
    try:
        directory = _open_directory(path.parent, below)
    except OSError:
        return []
    try:
        descriptor = _open_regular(path.name, os.O_RDONLY, directory=directory)
    except OSError:
        return []
    finally:
        os.close(directory)
    with os.fdopen(descriptor, "rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - TAIL_BYTES))
        text = stream.read(TAIL_BYTES).decode(errors="replace").splitlines()
    return text[-lines:] if lines > 0 else []
