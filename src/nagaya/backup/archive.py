"""The file format of a backup: a compressed tar whose last members are a manifest with checksums, and its seal.

`format.json` comes first, so that a newer format is recognised before anything else is read. Members are plain files
with names of a fixed shape; everything else is refused, wherever it claims to go.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

from nagaya.backup.errors import BackupError

FORMAT = 1
FORMAT_NAME, MANIFEST_NAME, SEAL_NAME, KEYS_NAME = "format.json", "manifest.json", "manifest.hmac", "keys.sealed"
DATABASE_NAME, DUMP_NAME, UIDS_NAME = "control/control.db", "control/control.pgdump", "keeper/uids.json"
INSTANCE_NAME = "instance.json"
_FIXED = frozenset({DATABASE_NAME, DUMP_NAME, UIDS_NAME, INSTANCE_NAME, KEYS_NAME})


class Source(Protocol):
    """Where bytes come from."""

    def read(self, count: int = -1, /) -> bytes:
        """Return the next bytes, none at the end."""
        ...


_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_TENANT = re.compile(rf"tenants/({_UUID})((?:/[^/\0]{{1,255}})+)\Z")
_SMALL = 64 * 1024 * 1024
"""Bytes that a manifest may have: a hundred bytes for each file."""
_CHUNK = 1024 * 1024
_LEVEL = 3
"""Databases compress well at once; higher levels cost much time for little."""


def tenant_of(name: str) -> str | None:
    """Return the tenant to which a member of this name belongs; None when it is none's. Raises BackupError."""
    if name in _FIXED:
        return None
    match = _TENANT.match(name)
    if match is None or any(part in {".", ".."} for part in name.split("/")):
        raise BackupError(f"The backup holds {name!r}, which no backup of Nagaya does; it was not made here.")
    return match[1]


@dataclass
class Manifest:
    """What a backup says about itself; `files` maps each name to its size and SHA-256."""

    id: str
    created: str
    version: str
    database: str
    key_id: str
    signing_key: str
    public_url: str = ""
    engines: list[str] = field(default_factory=list)
    tenants: int = 0
    has_keys: bool = False
    files: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def room(self) -> int:
        """How much room the files take."""
        return sum(size for size, _ in self.files.values())

    def encode(self) -> bytes:
        """Return the member `manifest.json`."""
        return json.dumps({"format": FORMAT, **self.__dict__}, indent=1).encode()

    @classmethod
    def decode(cls, content: bytes) -> Manifest:
        """Read what `encode` made. Raises BackupError."""
        try:
            value = json.loads(content)
            value.pop("format")
            files = {str(name): (int(size), str(digest)) for name, (size, digest) in value.pop("files").items()}
            return cls(**value, files=files)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BackupError("The backup's manifest is damaged.") from error


class _Hashing:
    """Reads a source to a known length and adds up its digest."""

    def __init__(self, source: IO[bytes], size: int) -> None:
        self._source, self._left = source, size
        self.digest = hashlib.sha256()

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes."""
        data = self._source.read(min(count, self._left) if count >= 0 else self._left)
        if not data and self._left:
            raise BackupError("A file became shorter while it was backed up; try again.")
        self._left -= len(data)
        self.digest.update(data)
        return data


class Writer:
    """Writes a backup to `target`."""

    def __init__(self, target: IO[bytes], manifest: Manifest) -> None:
        self.manifest = manifest
        self._zip = gzip.GzipFile(fileobj=target, mode="wb", compresslevel=_LEVEL, mtime=0, filename="")
        self._tar = tarfile.TarFile(fileobj=self._zip, mode="w", format=tarfile.PAX_FORMAT)
        head = {"format": FORMAT, "version": manifest.version, "created": manifest.created, "id": manifest.id}
        self._member(FORMAT_NAME, io.BytesIO(json.dumps(head).encode()))

    def add(self, name: str, source: IO[bytes], size: int) -> None:
        """Add a file. Raises BackupError when it ends early, OSError when the disk is full."""
        tenant_of(name)
        if name in self.manifest.files:
            raise BackupError(f"{name} was to be backed up twice.")
        digest = self._member(name, source, size)
        self.manifest.files[name] = (size, digest)

    def _member(self, name: str, source: IO[bytes], size: int | None = None) -> str:
        member = tarfile.TarInfo(name)
        member.size = len(source.getvalue()) if isinstance(source, io.BytesIO) and size is None else int(size or 0)
        member.mode = 0o600
        hashing = _Hashing(source, member.size)
        self._tar.addfile(member, hashing)
        return hashing.digest.hexdigest()

    def finish(self, seal: bytes) -> None:
        """Write the manifest and its seal, and close."""
        self._member(MANIFEST_NAME, io.BytesIO(self.manifest.encode()))
        self._member(SEAL_NAME, io.BytesIO(seal))
        self._tar.close()
        self._zip.close()


@contextmanager
def _said_plainly() -> Iterator[None]:
    """Turns what the libraries say about damaged files into one sentence."""
    try:
        yield
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BackupError(f"This is no complete backup of Nagaya: {error}.") from error


class _Content:
    """A member's content, read by others."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source

    def read(self, count: int = -1) -> bytes:
        """Return the next bytes. Raises BackupError when the file is damaged there."""
        with _said_plainly():
            return self._source.read(count)


class Reader:
    """Reads a backup from beginning to end, once: `for name, stream in reader`, then `manifest` and `seal`."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.head: dict[str, Any] = {}
        self.manifest_bytes = self.seal = b""

    def __iter__(self) -> Iterator[tuple[str, Source]]:
        """Yield each file with its content. Raises BackupError as soon as something is wrong."""
        with _said_plainly(), gzip.GzipFile(fileobj=self._source, mode="rb") as unzipped:
            with tarfile.open(fileobj=unzipped, mode="r|") as tar:
                yield from self._members(tar)
            while unzipped.read(_CHUNK):  # What is left is padding; at its end is the checksum of the whole.
                pass
        if not self.manifest_bytes or not self.seal:
            raise BackupError("The backup has no end: it was cut off, or is still being written.")

    def _members(self, tar: tarfile.TarFile) -> Iterator[tuple[str, Source]]:
        for number, member in enumerate(tar):
            stream = tar.extractfile(member) if member.isreg() else None
            if stream is None:
                raise BackupError(f"The backup holds {member.name!r}, which is no plain file; it was not made here.")
            if self.seal:
                raise BackupError("The backup goes on after its end; it was not made here.")
            if number == 0:
                self._begin(member, stream)
            elif member.name == MANIFEST_NAME and not self.manifest_bytes:
                self.manifest_bytes = stream.read(_SMALL)
            elif member.name == SEAL_NAME and self.manifest_bytes:
                self.seal = stream.read(256)
            elif self.manifest_bytes:
                raise BackupError("The backup's manifest is not at its end; it was not made here.")
            else:
                tenant_of(member.name)
                yield member.name, _Content(stream)

    def _begin(self, member: tarfile.TarInfo, stream: IO[bytes]) -> None:
        if member.name != FORMAT_NAME:
            raise BackupError("This is no backup of Nagaya.")
        try:
            self.head = json.loads(stream.read(4096))
            number = int(self.head["format"])
        except (ValueError, TypeError, KeyError) as error:
            raise BackupError("The beginning of the backup is damaged.") from error
        if number > FORMAT:
            raise BackupError(
                f"The backup was made by Nagaya {self.head.get('version')}, whose format {number} is newer than what "
                f"this version reads ({FORMAT}); restore it with that version or a later one."
            )
