"""Checks a backup, and restores one into an empty data directory."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from nagaya.backup import postgres
from nagaya.backup.archive import (
    DATABASE_NAME,
    DUMP_NAME,
    FORMAT_NAME,
    KEYS_NAME,
    UIDS_NAME,
    Manifest,
    Reader,
    Source,
    tenant_of,
)
from nagaya.backup.errors import BackupError
from nagaya.backup.keys import KeyFiles, check_seal, open_keys, write_keys
from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.files import read_json, sync_directory, write_json
from nagaya.supervisor.layout import RESTORING

MARK = RESTORING
_HARMLESS = frozenset({"lost+found", "engines"})
_CHUNK = 1024 * 1024
_ROOM = 64 * 1024 * 1024
Sink = Callable[[str, Source], tuple[int, str]]


@dataclass(frozen=True)
class Checked:
    """What a check found. `authentic`: whether the seal was compared with a key."""

    manifest: Manifest
    authentic: bool
    keys: KeyFiles | None


def check(path: Path, keys: KeyFiles | None = None, passphrase: str | None = None) -> Checked:
    """Read a whole backup and compare everything with its manifest; with keys or passphrase also the seal.

    Raises BackupError when it is not complete, was changed, is of a newer format, or the key is another one.
    """
    sealed = b""

    def digest(name: str, source: Source) -> tuple[int, str]:
        nonlocal sealed
        if name == KEYS_NAME:
            sealed = source.read(65536)
            return len(sealed), hashlib.sha256(sealed).hexdigest()
        return _pour(source, None)

    reader, manifest = _read(path, digest)
    if passphrase is not None:
        if not sealed:
            raise BackupError("The backup holds no keys: it was made without --with-keys.")
        keys = open_keys(sealed, passphrase, manifest.id)
    if keys is None:
        return Checked(manifest, authentic=False, keys=None)
    master = keys.master_key()
    if master.id != manifest.key_id:
        raise BackupError(
            f"The backup belongs to the master key {manifest.key_id}, not to {master.id}: nobody can read its secrets."
        )
    check_seal(master, reader.manifest_bytes, reader.seal)
    if keys.signing is not None and keys.signing_id() != manifest.signing_key:
        raise BackupError("signing.pem is not the one of this backup: leave it out, and everybody signs in anew.")
    return Checked(manifest, authentic=True, keys=keys)


def _read(path: Path, sink: Sink) -> tuple[Reader, Manifest]:
    """Pass every file to `sink`, which returns its size and SHA-256; compare with the manifest."""
    found: dict[str, tuple[int, str]] = {}
    try:
        with path.open("rb") as stream:
            reader = Reader(stream)
            for name, source in reader:
                if name in found:
                    raise BackupError(f"The backup holds {name!r} twice; it was not made here.")
                found[name] = sink(name, source)
    except OSError as error:
        raise BackupError(f"{path} cannot be read or restored: {error.strerror or error}.") from error
    manifest = Manifest.decode(reader.manifest_bytes)
    if manifest.id != reader.head.get("id"):
        raise BackupError("The backup was put together from several; it cannot be used.")
    for name in sorted(set(found) | set(manifest.files)):
        if found.get(name) != manifest.files.get(name):
            raise BackupError(f"The backup is damaged: {name} is not what its manifest says.")
    return reader, manifest


def _pour(source: Source, target: IO[bytes] | None) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    while data := source.read(_CHUNK):
        size += len(data)
        digest.update(data)
        if target is not None:
            target.write(data)
    return size, digest.hexdigest()


def restore(config: PlatformConfig, path: Path, keys: KeyFiles | None, passphrase: str | None = None) -> Manifest:
    """Restore a backup into the empty data directory of `config`; one that was interrupted may be repeated.

    Raises BackupError with a sentence. Nothing is written before the whole backup has been checked.
    """
    checked = check(path, keys, passphrase)
    manifest = checked.manifest
    if checked.keys is None:
        raise BackupError(
            f"The backup's secrets need the master key {manifest.key_id}: give a copy of the old `keys` directory with "
            "--keys, or the passphrase of a backup that was made with --with-keys."
        )
    if (manifest.database == "sqlite") != (config.database_url is None):
        other = "without NAGAYA_DATABASE_URL" if manifest.database == "sqlite" else "with NAGAYA_DATABASE_URL"
        raise BackupError(f"The backup's control database is on {manifest.database}: restore it {other}.")
    if config.database_url is not None:
        postgres.check_empty(config.database_url)
    _prepare(config.data_dir, manifest)
    try:
        _fill(config, path, manifest, checked.keys)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise BackupError(f"The disk of {config.data_dir} is full; make room and restore again.") from error
        raise BackupError(f"{config.data_dir} cannot be written: {error.strerror or error}.") from error
    return manifest


def _prepare(directory: Path, manifest: Manifest) -> None:
    """Make sure that the directory is empty and large enough, and mark what begins now."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        entries = {entry.name for entry in directory.iterdir()} - _HARMLESS
    except OSError as error:
        raise BackupError(f"{directory} cannot be used: {error.strerror}.") from error
    if entries and MARK not in entries:
        raise BackupError(f"{directory} is not empty; a backup is restored into an empty data directory.")
    for name in sorted(entries - {MARK}):
        # Whatever lies beside the mark was written by a restore that was interrupted.
        path = directory / name
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    free = os.statvfs(directory)
    if free.f_bavail * free.f_frsize < manifest.room + _ROOM:
        raise BackupError(f"The disk of {directory} has too little room: the backup needs {manifest.room >> 20} MiB.")
    write_json(directory / MARK, {"backup": manifest.id, "created": manifest.created})


def _fill(config: PlatformConfig, path: Path, manifest: Manifest, keys: KeyFiles) -> None:
    directory = config.data_dir
    for name in ("control", "keeper", "tenants"):
        (directory / name).mkdir(mode=0o700, exist_ok=True)

    def write(name: str, source: Source) -> tuple[int, str]:
        if name in {KEYS_NAME, FORMAT_NAME}:
            return _pour(source, None)
        # The name has one of the fixed shapes of the format: it stays below the directory.
        target = directory / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as stream:
            outcome = _pour(source, stream)
            stream.flush()
            os.fsync(stream.fileno())
        return outcome

    # The file is read a second time and compared again: it may have been replaced since it was checked.
    _, again = _read(path, write)
    if again.id != manifest.id:
        raise BackupError("The backup was replaced while it was restored.")
    owner = config.service_uid if os.geteuid() == 0 else None
    _settle_database(config)
    write_keys(directory / "keys", keys, owner)
    if owner is not None:
        _give(directory / "control", owner)
    _settle_users(config, sorted({tenant for name in manifest.files if (tenant := tenant_of(name)) is not None}))
    for name in ("control", "keeper", "tenants"):
        sync_directory(directory / name)
    (directory / MARK).unlink()
    sync_directory(directory)


def _settle_database(config: PlatformConfig) -> None:
    """Check the control database, and let the platform tell its runtime about every tenant anew."""
    if config.database_url is not None:
        dump = config.data_dir / DUMP_NAME
        with dump.open("rb") as source:
            postgres.restore(config.database_url, source)
        postgres.apply_again(config.database_url)
        dump.unlink()
        return
    try:
        with closing(sqlite3.connect(config.data_dir / DATABASE_NAME)) as database:
            if database.execute("PRAGMA quick_check").fetchone() != ("ok",):
                raise BackupError("The backup's control database is damaged.")
            # The keeper's own records are not part of a backup: they name processes of the old host.
            database.execute("UPDATE tenants SET applied_generation = 0")
            database.commit()
    except sqlite3.Error as error:
        raise BackupError(f"The backup's control database cannot be used: {error}.") from error


def _settle_users(config: PlatformConfig, tenants: list[str]) -> None:
    """Give each tenant's files to its user: the old numbers where this host's range has them, else new ones."""
    path = config.data_dir / UIDS_NAME
    stored = read_json(path) or {}
    path.unlink(missing_ok=True)
    if config.tenant_uids is None or os.geteuid() != 0:
        return
    first, last = config.tenant_uids
    old = {tenant: int(uid) for tenant, uid in dict(stored.get("assigned", {})).items()}
    if set(tenants) <= set(old) and all(first <= uid <= last for uid in old.values()):
        assigned, following = old, max([int(stored.get("next", first)), *(uid + 1 for uid in old.values())])
    else:
        assigned = {tenant: first + index for index, tenant in enumerate(tenants)}
        following = first + len(tenants)
    if following > last + 1:
        raise BackupError(f"The range of user ids {first}-{last} is too small for {len(tenants)} tenants.")
    write_json(path, {"next": following, "assigned": assigned})
    for tenant in tenants:
        _give(config.data_dir / "tenants" / tenant, assigned[tenant])


def _give(directory: Path, owner: int) -> None:
    """Change the owner of a directory that we have just made, and of everything in it."""
    for root, _, files in os.walk(directory):
        for path in (Path(root), *(Path(root) / name for name in files)):
            os.chown(path, owner, owner, follow_symlinks=False)
