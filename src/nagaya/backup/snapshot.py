"""A consistent copy of the files below a directory, taken as the user to whom the directory belongs.

Root never opens what a tenant could have replaced by a link: a child gives up its privileges, copies databases with
SQLite's own online backup, and passes everything on through a pipe.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

from nagaya.backup.errors import BackupError

LEFT_OUT = frozenset({"tmp", "log"})
SIDE_FILES = ("-wal", "-shm", "-journal")
PREFIX = ".nagaya-backup-"
_MAGIC = b"SQLite format 3\0"
_CHUNK = 1024 * 1024
_BUSY_SECONDS = 60.0
Take = Callable[[str, IO[bytes], int], None]


def copy_tree(directory: Path, owner: int | None, take: Take) -> None:
    """Give each file below `directory` to `take`: its path there, its content, its size.

    Args:
        directory: What is copied; one that does not exist any more is empty.
        owner: User id to become for it (only root can); None: stay who we are.
        take: Called in this process.

    Raises BackupError with the reason when something cannot be read.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        with suppress(BaseException):
            _child(directory, owner, writer)
        os._exit(0)
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as stream:
            _receive(stream, directory, take)
    finally:
        os.waitpid(pid, 0)


def _receive(stream: IO[bytes], directory: Path, take: Take) -> None:
    while line := stream.readline(65536):
        told = json.loads(line)
        if told.get("end"):
            return
        if "error" in told:
            raise BackupError(f"{directory} cannot be backed up: {told['error']}")
        take(str(told["name"]), stream, int(told["size"]))
    raise BackupError(f"{directory} cannot be backed up: the process that reads it ended early.")


def _child(directory: Path, owner: int | None, writer: int) -> None:
    # Whatever the parent has open, the archive above all, is none of this user's business.
    os.closerange(3, writer)
    os.closerange(writer + 1, os.sysconf("SC_OPEN_MAX"))
    with os.fdopen(writer, "wb") as pipe:
        try:
            if owner is not None:
                os.setgroups([])
                os.setresgid(owner, owner, owner)
                os.setresuid(owner, owner, owner)
            for path in _files(directory):
                _send(path, str(path.relative_to(directory)), pipe)
            pipe.write(b'{"end": true}\n')
        except BrokenPipeError:
            raise
        except Exception as error:  # Whatever it is, the parent has to say it.
            pipe.write(json.dumps({"error": f"{error}"}).encode() + b"\n")


def _files(directory: Path) -> Iterator[Path]:
    """Yield the plain files; what an interrupted backup left is removed."""
    for root, names, files in os.walk(directory):
        names[:] = sorted(set(names) - LEFT_OUT)
        for name in sorted(files):
            path = Path(root) / name
            if name.startswith(PREFIX):
                path.unlink(missing_ok=True)
            elif not name.endswith(SIDE_FILES) and stat.S_ISREG(path.lstat().st_mode):
                yield path


def _send(path: Path, name: str, pipe: IO[bytes]) -> None:
    try:
        with path.open("rb") as source:
            if source.read(len(_MAGIC)) != _MAGIC:
                _write(source, name, pipe)
                return
    except FileNotFoundError:
        return  # It was removed while we looked.
    copy = path.with_name(f"{PREFIX}{path.name}")
    try:
        copy_database(path, copy)
        with copy.open("rb") as source:
            _write(source, name, pipe)
    finally:
        copy.unlink(missing_ok=True)


def _write(source: IO[bytes], name: str, pipe: IO[bytes]) -> None:
    size = source.seek(0, os.SEEK_END)
    source.seek(0)
    pipe.write(json.dumps({"name": name, "size": size}).encode() + b"\n")
    while size > 0 and (data := source.read(min(size, _CHUNK))):
        pipe.write(data)
        size -= len(data)
    if size:
        raise BackupError(f"{name} became shorter while it was read.")


def copy_database(path: Path, copy: Path) -> None:
    """Copy an SQLite database that may be in use (SQLite's backup API): a state that existed at one moment.

    Raises sqlite3.Error, for instance when the disk is full.
    """
    copy.unlink(missing_ok=True)
    uri = f"{path.as_uri()}?mode=rw"
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        copy.chmod(0o600)
        source.backup(target)  # In one step: of several, a busy database would never reach the last.
        target.execute("PRAGMA journal_mode=DELETE")
