"""Keeps a copy of the TLS certificate and key that the unprivileged gateway can read, as long as the files change."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from nagaya.runtime.config import PlatformConfig

logger = logging.getLogger(__name__)

COPY_SECONDS = 5.0
LARGEST = 1024 * 1024


class CertificateCopy:
    """`run/tls.pem`: key and chain in one file, which belongs to the gateway's user and which nobody else can read.

    Key files are commonly readable by root only, and stay so. The directories are opened before the supervisor enters
    its view (`nagaya.supervisor.view`), in which those below a closed directory cannot be seen.
    """

    def __init__(self, config: PlatformConfig) -> None:
        self._config = config
        self._files: list[tuple[int, Path]] = []
        self._content: bytes | None = None
        self._trouble = ""
        for path in (config.tls_key, config.tls_certificate) if config.tls_is_copied else ():
            if path is not None:
                self._files.append((self._open(path.parent), path))

    def _open(self, directory: Path) -> int:
        try:
            return os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return -1

    def refresh(self) -> bool:
        """Copy the files if they have changed; what cannot be read is told once and leaves the last copy as it is."""
        if not self._files:
            return False
        try:
            content = b"\n".join(_read(directory, path) for directory, path in self._files)
        except OSError as error:
            trouble = f"{error.filename or 'a file'}: {error.strerror}"
            if trouble != self._trouble:
                logger.warning("the TLS certificate cannot be read, the last one is kept: %s", trouble)
            self._trouble = trouble
            return False
        self._trouble = ""
        if content == self._content:
            return False
        self._write(content)
        self._content = content
        return True

    def _write(self, content: bytes) -> None:
        """Put the copy in place in one step; what is only in the run directory needs no sync."""
        target = self._config.tls_copy
        temporary = target.with_name(f"{target.name}.new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                user = self._config.gateway_uid
                if user is not None and os.geteuid() == 0:
                    os.fchown(file.fileno(), user, user)
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    async def follow(self) -> None:
        """Take over renewed files, for ever."""
        while True:
            await asyncio.sleep(COPY_SECONDS)
            try:
                self.refresh()
            except OSError:
                logger.exception("the TLS certificate cannot be copied")


def _read(directory: int, path: Path) -> bytes:
    """Read a file by its name in a directory that was opened earlier, links followed as tools for renewal make them."""
    if directory < 0:
        return path.read_bytes()[:LARGEST]
    descriptor = os.open(path.name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(LARGEST)
