"""A data directory as a platform leaves it, and ways to spoil a backup of it."""

from __future__ import annotations

import gzip
import io
import os
import sqlite3
import tarfile
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from nagaya.backup.create import create
from nagaya.db.engine import Database, database_url
from nagaya.db.migrate import upgrade
from nagaya.identity.keys import ensure_keys
from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.files import write_json
from nagaya.runtime.local.uids import UidAllocator, private_directory
from nagaya.supervisor import layout


def directly(_config: PlatformConfig, work: Callable[[], dict[str, str | None]]) -> dict[str, str | None]:
    """Does the work with the keys in this process."""
    return work()


@dataclass
class World:
    """A platform's data directory, with tenants that have rows."""

    config: PlatformConfig
    tenants: list[str]
    root: Path

    def database(self, tenant: str) -> Path:
        """The database of a tenant."""
        return self.config.data_dir / "tenants" / tenant / "zenml.db"

    def backup(self, name: str = "backup.tar.gz", passphrase: str | None = None) -> Path:
        """Makes a backup."""
        target = self.root / name
        create(self.config, target, directly, passphrase)
        return target

    def elsewhere(self, place: Path | None = None, **settings: object) -> PlatformConfig:
        """The configuration of another, empty data directory."""
        values = {"service_uid": self.config.service_uid, "tenant_uids": self.config.tenant_uids, **settings}
        return PlatformConfig.create(place or self.root / f"other-{uuid.uuid4().hex[:6]}", **values)


def rows(path: Path) -> list[tuple[int]]:
    """What is in a tenant's table."""
    with closing(sqlite3.connect(path)) as database:
        return list(database.execute("SELECT n FROM numbers ORDER BY n"))


@pytest.fixture
def world() -> Iterator[World]:
    """See `World`."""
    with tempfile.TemporaryDirectory(prefix="nagaya-test-", ignore_cleanup_errors=True) as name:
        root = Path(name)
        root.chmod(0o755)
        separate = {"service_uid": 199_998, "tenant_uids": (200_000, 200_099)} if os.geteuid() == 0 else {}
        config = PlatformConfig.create(root / "data", **separate)
        layout.prepare(config)
        ensure_keys(config.data_dir)
        database = Database(database_url(config.data_dir, None))
        upgrade(database)
        database.close()
        uids = UidAllocator(config.keeper_dir / "uids.json", config.tenant_uids)
        tenants = [str(uuid.uuid4()) for _ in range(3)]
        for number, tenant in enumerate(tenants):
            make_tenant(config, tenant, uids.assign(tenant), range(10 * number + 1))
        write_json(config.keeper_dir / "zygotes.json", {"zygotes": {}})
        layout.prepare(config)
        yield World(config, tenants, root)


def make_tenant(config: PlatformConfig, tenant: str, uid: int | None, numbers: range) -> None:
    """A tenant's directory with a database in WAL mode, a configuration, and what is not worth keeping."""
    directory = config.data_dir / "tenants" / tenant
    for path in (directory, directory / "config", directory / "log", directory / "tmp"):
        private_directory(path, uid)
    with closing(sqlite3.connect(directory / "zenml.db")) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE numbers (n INTEGER)")
        database.executemany("INSERT INTO numbers VALUES (?)", [(n,) for n in numbers])
        database.commit()
    (directory / "config" / "config.yaml").write_text("version: 1\n")
    (directory / "log" / "tenant.log").write_text("not worth keeping\n")
    (directory / "tmp" / "x").write_text("neither")
    for root, _, files in os.walk(directory):
        for path in (Path(root), *(Path(root) / file for file in files)):
            if uid is not None:
                os.chown(path, uid, uid)


def repacked(path: Path, change: Callable[[tarfile.TarInfo, bytes], list[tuple[tarfile.TarInfo, bytes]]]) -> Path:
    """Writes a backup anew with members changed, added or left out."""
    target = path.with_name("spoiled.tar.gz")
    with tarfile.open(path) as old, gzip.open(target, "wb") as zipped, tarfile.open(fileobj=zipped, mode="w|") as new:
        for member in old:
            stream = old.extractfile(member)
            content = stream.read() if stream else b""
            for changed, data in change(member, content):
                if changed.isreg():
                    changed.size = len(data)
                new.addfile(changed, io.BytesIO(data) if changed.isreg() else None)
    return target
