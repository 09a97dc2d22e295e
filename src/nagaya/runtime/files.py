"""State files: JSON that is either the old or the new content after any crash, never a mixture."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class StateFileError(Exception):
    """A state file exists but cannot be read as the JSON object that it should hold."""


def write_json(path: Path, value: Any, *, mode: int = 0o600, durable: bool = True) -> None:
    """Replace `path` by the JSON of `value`: temporary name, sync, rename, sync of the directory.

    Without `durable` nothing is synced: what a kill of this process or of any other leaves is the same, but after a
    loss of power the file may have its old content or none. That is for what means nothing after a new boot.
    Raises OSError when the disk is full or read-only; the old content is then untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(json.dumps(value, separators=(",", ":")).encode())
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in `path`, or None when there is no such file.

    Raises StateFileError when the content is not a JSON object.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise StateFileError(f"{path} is damaged: {error}") from error
    if not isinstance(value, dict):
        raise StateFileError(f"{path} is damaged: it holds no JSON object")
    return value


def sync_directory(path: Path) -> None:
    """Make renames and removals in the directory `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
