"""Makes a backup of a platform, running or not: one file that appears complete or not at all."""

from __future__ import annotations

import datetime as dt
import errno
import fcntl
import io
import json
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import nagaya
from nagaya.backup import postgres
from nagaya.backup.archive import DUMP_NAME, INSTANCE_NAME, KEYS_NAME, UIDS_NAME, Manifest, Writer
from nagaya.backup.errors import BackupError
from nagaya.backup.keys import KeyFiles, seal_keys, seal_manifest
from nagaya.backup.snapshot import copy_tree
from nagaya.engines import catalog
from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.files import StateFileError, read_json, sync_directory, write_json

RECORD = "backup.json"
"""In the data directory: when the last backup was made, and where it went."""
AsService = Callable[[PlatformConfig, Callable[[], dict[str, str | None]]], dict[str, str | None]]


def create(
    config: PlatformConfig, target: Path, as_service: AsService, passphrase: str | None = None
) -> tuple[Manifest, int]:
    """Write a backup to `target` (0600) and return its manifest and size in bytes.

    Args:
        config: The platform.
        target: A file that does not exist yet.
        as_service: Runs work with the keys as the user who may read them (`nagaya.cli.service_user`).
        passphrase: Takes the keys along, sealed under it; None: without keys.

    Raises BackupError with a sentence; nothing is left then. Tenants' databases are copied before the control database:
    what they have reported since is reported again after a restore, and ignored where it is known. Tenants that appear
    meanwhile are copied at the end, so that every tenant of the control database has its data.
    """
    manifest = _manifest(config)
    keys = as_service(config, lambda: _key_facts(config, manifest.id, passphrase))
    manifest.key_id, manifest.signing_key = keys["key_id"] or "", keys["signing_key"] or ""
    manifest.has_keys = keys["sealed"] is not None
    try:
        with _partial(target) as stream:
            writer = Writer(stream, manifest)
            _fill(config, writer, target.parent)
            if keys["sealed"] is not None:
                sealed = keys["sealed"].encode()
                writer.add(KEYS_NAME, io.BytesIO(sealed), len(sealed))
            encoded = manifest.encode()
            seal = as_service(config, lambda: {"seal": seal_manifest(_keys(config).master_key(), encoded)})["seal"]
            writer.finish((seal or "").encode())
    except OSError as error:
        raise BackupError(_explain(error, target)) from error
    size = target.stat().st_size
    record = {"created": manifest.created, "file": str(target), "bytes": size, "keys": manifest.has_keys}
    write_json(config.data_dir / RECORD, record)
    return manifest, size


def _manifest(config: PlatformConfig) -> Manifest:
    try:
        instance = read_json(config.data_dir / INSTANCE_NAME)
    except (StateFileError, OSError) as error:
        raise BackupError(f"{config.data_dir} cannot be backed up: {error}") from error
    if instance is None:
        raise BackupError(f"There is no platform in {config.data_dir}; say which with --data-dir.")
    return Manifest(
        id=str(uuid.uuid4()),
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        version=nagaya.__version__,
        database="sqlite" if config.database_url is None else "postgresql",
        key_id="",
        signing_key="",
        public_url=config.public_url,
        engines=[engine.version for engine in catalog.installed(config.engines_dir)],
    )


def _keys(config: PlatformConfig) -> KeyFiles:
    return KeyFiles.read(config.data_dir / "keys", config.master_key_file)


def _key_facts(config: PlatformConfig, backup: str, passphrase: str | None) -> dict[str, str | None]:
    keys = _keys(config)
    sealed = None if passphrase is None else seal_keys(keys, passphrase, backup).decode()
    return {"key_id": keys.master_key().id, "signing_key": keys.signing_id(), "sealed": sealed}


def _fill(config: PlatformConfig, writer: Writer, scratch: Path) -> None:
    _add_file(writer, INSTANCE_NAME, config.data_dir / INSTANCE_NAME)
    done: set[str] = set()
    _add_tenants(config, writer, done)
    if config.database_url is None:
        owner = config.service_uid if os.geteuid() == 0 else None
        copy_tree(config.control_dir, owner, lambda name, source, size: _add_control(writer, name, source, size))
    else:
        with tempfile.TemporaryFile(dir=scratch) as dump:
            postgres.dump(config.database_url, dump)
            size = dump.seek(0, os.SEEK_END)
            dump.seek(0)
            writer.add(DUMP_NAME, dump, size)
    _add_tenants(config, writer, done)
    # Read last: a number that a tenant got meanwhile must not be given away again.
    if (config.keeper_dir / "uids.json").exists():
        _add_file(writer, UIDS_NAME, config.keeper_dir / "uids.json")
    writer.manifest.tenants = len(done)


def _add_control(writer: Writer, name: str, source: IO[bytes], size: int) -> None:
    """Take the control database along, and swallow whatever else lies beside it."""
    if name == "control.db":
        writer.add(f"control/{name}", source, size)
        return
    while size > 0:
        size -= len(source.read(min(size, 1 << 20)))


def _add_file(writer: Writer, name: str, path: Path) -> None:
    content = path.read_bytes()
    json.loads(content)  # A damaged state file is found now rather than in an emergency.
    writer.add(name, io.BytesIO(content), len(content))


def _add_tenants(config: PlatformConfig, writer: Writer, done: set[str]) -> None:
    directory = config.data_dir / "tenants"
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if path.name in done or path.is_symlink() or not _is_tenant(path.name):
            continue
        try:
            owner = path.stat().st_uid
        except FileNotFoundError:
            continue
        prefix = f"tenants/{path.name}/"

        def take(name: str, source: IO[bytes], size: int, prefix: str = prefix) -> None:
            writer.add(prefix + name, source, size)

        copy_tree(path, owner if os.geteuid() == 0 else None, take)
        done.add(path.name)


def _is_tenant(name: str) -> bool:
    try:
        return str(uuid.UUID(name)) == name
    except ValueError:
        return False


@contextmanager
def _partial(target: Path) -> Iterator[IO[bytes]]:
    """Give a file that becomes `target` at the end; one that a killed backup left is begun anew."""
    if target.exists():
        raise BackupError(f"{target} exists already; choose another name.")
    partial = target.with_name(f".{target.name}.partial")
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"Another backup is just being written to {target}.") from None
        try:
            os.fchmod(descriptor, 0o600)
            os.ftruncate(descriptor, 0)
            yield stream
            stream.flush()
            os.fsync(descriptor)
            os.link(partial, target)  # Unlike a rename, never over a file that appeared meanwhile.
        finally:
            partial.unlink(missing_ok=True)
    sync_directory(target.parent)


def _explain(error: OSError, target: Path) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk of {target.parent} is full; make room, or write the backup to another disk."
    return f"The backup cannot be written to {target}: {error.strerror or error}."
