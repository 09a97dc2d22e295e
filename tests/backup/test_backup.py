"""Backups that are made, checked and restored; what is in them; and every way in which they refuse."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from nagaya.backup import archive, keys
from nagaya.backup.create import RECORD, create
from nagaya.backup.errors import BackupError
from nagaya.backup.keys import KeyFiles
from nagaya.backup.restore import MARK, check, restore
from nagaya.backup.snapshot import copy_tree
from nagaya.crypto import MasterKey
from nagaya.runtime.files import read_json
from nagaya.supervisor import layout
from nagaya.supervisor.errors import SetupError
from tests.backup.conftest import World, directly, make_tenant, repacked, rows
from tests.runtime.support import wait_for

PASSPHRASE = "correct horse battery staple"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="users of their own need root")


def key_files(world: World) -> KeyFiles:
    return KeyFiles.read(world.config.data_dir / "keys")


def names(path: Path) -> set[str]:
    with tarfile.open(path) as tar:
        return set(tar.getnames())


def test_a_backup_holds_what_cannot_be_made_again_and_nothing_secret(world: World) -> None:
    path = world.backup()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    expected = {"format.json", "instance.json", "control/control.db", "keeper/uids.json", "manifest.json"}
    expected |= {f"tenants/{tenant}/{name}" for tenant in world.tenants for name in ("zenml.db", "config/config.yaml")}
    if os.geteuid() != 0:
        expected.discard("keeper/uids.json")
    assert names(path) == expected | {"manifest.hmac"}
    secrets = [(world.config.data_dir / "keys" / name).read_bytes().strip() for name in ("master.key", "signing.pem")]
    with tarfile.open(path) as tar:
        content = b"".join(stream.read() for member in tar if (stream := tar.extractfile(member)))
    assert not any(secret in content for secret in secrets)
    record = read_json(world.config.data_dir / RECORD)
    assert record is not None
    assert record["file"] == str(path)
    assert [entry.name for entry in world.root.glob(".*")] == []


def test_what_was_backed_up_is_there_after_a_restore(world: World) -> None:
    path, config = world.backup(), world.elsewhere()
    restore(config, path, key_files(world))
    for tenant in world.tenants:
        copied = config.data_dir / "tenants" / tenant
        assert rows(copied / "zenml.db") == rows(world.database(tenant))
        assert not (copied / "log").exists()
    assert (config.data_dir / "keys" / "master.key").read_bytes() == key_files(world).master
    assert (config.data_dir / "instance.json").read_bytes() == (world.config.data_dir / "instance.json").read_bytes()
    assert not (config.data_dir / MARK).exists()
    layout.prepare(config)
    with pytest.raises(BackupError, match="not empty"):
        restore(config, path, key_files(world))


@root_only
def test_files_belong_to_the_same_users_afterwards_or_to_new_ones_of_this_host(world: World) -> None:
    path = world.backup()
    old = (read_json(world.config.keeper_dir / "uids.json") or {})["assigned"]
    same, other = world.elsewhere(), world.elsewhere(tenant_uids=(300_000, 300_010))
    for config, expected in ((same, old), (other, None)):
        restore(config, path, key_files(world))
        stored = read_json(config.keeper_dir / "uids.json") or {}
        assert stored["next"] > max(stored["assigned"].values())
        assert expected is None or stored["assigned"] == expected
        assert set(stored["assigned"]) == set(world.tenants)
        for tenant, uid in stored["assigned"].items():
            assert (config.data_dir / "tenants" / tenant / "zenml.db").stat().st_uid == uid
            assert config.tenant_uids is not None
            assert config.tenant_uids[0] <= uid <= config.tenant_uids[1]
        assert (config.data_dir / "control" / "control.db").stat().st_uid == config.service_uid
        assert (config.data_dir / "keys" / "master.key").stat().st_uid == config.service_uid
    with pytest.raises(BackupError, match="too small for 3 tenants"):
        restore(world.elsewhere(tenant_uids=(300_000, 300_001)), path, key_files(world))


WRITER = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=30) as database:
    number = 1000
    while True:
        # Two rows in one transaction: a copy of half of it would have an odd number of rows.
        database.executemany("INSERT INTO numbers VALUES (?)", [(number,), (number,)])
        database.commit()
        number += 1
"""


def test_databases_are_whole_although_somebody_writes_all_the_time(world: World) -> None:
    path = world.database(world.tenants[0])
    # In a process of its own, as a tenant is: SQLite does not bear a fork in a process that has the database open.
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)]) as writer:
        try:
            for attempt in range(3):
                wait_for(lambda: len(rows(path)) > 50)
                config = world.elsewhere()
                restore(config, world.backup(f"{attempt}.tar.gz"), key_files(world))
                copied = rows(config.data_dir / "tenants" / world.tenants[0] / "zenml.db")
                assert len(copied) > 50
                assert (len(copied) - 1) % 2 == 0
        finally:
            writer.kill()


def test_a_tenant_that_appears_while_the_backup_is_made_is_in_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    late = "11111111-2222-4333-8444-555555555555"
    uid = 200_050 if os.geteuid() == 0 else None

    def slow_copy(directory: Path, owner: int | None, take: object) -> None:
        if directory == world.config.control_dir:
            make_tenant(world.config, late, uid, range(3))
        copy_tree(directory, owner, take)  # type: ignore[arg-type] # Passed on as it came.

    monkeypatch.setattr("nagaya.backup.create.copy_tree", slow_copy)
    assert f"tenants/{late}/zenml.db" in names(world.backup())


def test_keys_travel_only_sealed_and_open_only_with_their_passphrase(world: World) -> None:
    path, config = world.backup(passphrase=PASSPHRASE), world.elsewhere()
    assert check(path, passphrase=PASSPHRASE).authentic
    with pytest.raises(BackupError, match="passphrase is wrong"):
        restore(config, path, None, "another passphrase")
    with pytest.raises(BackupError, match="need the master key"):
        restore(config, path, None)
    assert not config.data_dir.exists()
    restore(config, path, None, PASSPHRASE)
    assert (config.data_dir / "keys" / "signing.pem").read_bytes() == key_files(world).signing
    with pytest.raises(BackupError, match="at least 12"):
        world.backup("short.tar.gz", "short")
    with pytest.raises(BackupError, match="made without --with-keys"):
        check(world.backup("without.tar.gz"), passphrase=PASSPHRASE)


def test_sealed_keys_cannot_ask_for_all_memory_and_damage_is_said(world: World) -> None:
    sealed = json.loads(keys.seal_keys(key_files(world), PASSPHRASE, "id"))
    for change, said in (({"n": 1 << 30}, "does not know"), ({"salt": "?"}, "damaged"), ({"kdf": "none"}, "does not")):
        with pytest.raises(BackupError, match=said):
            keys.open_keys(json.dumps(sealed | change).encode(), PASSPHRASE, "id")
    with pytest.raises(BackupError, match="damaged"):
        keys.open_keys(b"[]", PASSPHRASE, "id")
    with pytest.raises(BackupError, match="passphrase is wrong"):
        keys.open_keys(json.dumps(sealed).encode(), PASSPHRASE, "another backup")


def test_another_master_key_or_signing_key_is_refused(world: World) -> None:
    path, stranger = world.backup(), world.root / "stranger"
    MasterKey.load_or_create(stranger / "master.key")
    with pytest.raises(BackupError, match="belongs to the master key"):
        check(path, KeyFiles.read(stranger))
    with pytest.raises(BackupError, match="cannot be read"):
        KeyFiles.read(world.root / "nowhere")
    mixed = KeyFiles(key_files(world).master, other_signing_key(world))
    with pytest.raises(BackupError, match=r"signing\.pem is not the one"):
        check(path, mixed)
    with pytest.raises(BackupError, match="no private key"):
        check(path, KeyFiles(key_files(world).master, b"nonsense"))
    with pytest.raises(BackupError, match="no master key"):
        check(path, KeyFiles(b"nonsense", None))
    config = world.elsewhere()
    restore(config, path, KeyFiles(key_files(world).master, None))
    assert not (config.data_dir / "keys" / "signing.pem").exists()


def other_signing_key(world: World) -> bytes:
    from nagaya.identity.keys import ensure_keys  # noqa: PLC0415 - beside its only use.

    ensure_keys(world.root / "second")
    return (world.root / "second" / "keys" / "signing.pem").read_bytes()


@pytest.mark.parametrize("cut", [0, 10, 300, -1, -20, -3000])
def test_a_backup_that_was_cut_off_is_refused(world: World, cut: int) -> None:
    path = world.backup()
    content = path.read_bytes()
    path.write_bytes(content[:cut])
    with pytest.raises(BackupError, match=r"no complete backup|no end|no backup of Nagaya"):
        check(path)


def test_a_flipped_bit_anywhere_is_noticed(world: World) -> None:
    path = world.backup()
    content = bytearray(path.read_bytes())
    unpacked = gzip.decompress(content)
    for position in range(20, len(content), max(1, len(content) // 25)):
        damaged = bytearray(content)
        damaged[position] ^= 4
        with contextlib.suppress(Exception):
            if gzip.decompress(damaged) == unpacked:
                continue  # Some bits of the compression mean nothing.
        path.write_bytes(damaged)
        with pytest.raises(BackupError):
            check(path)


def test_what_was_changed_on_purpose_is_noticed(world: World) -> None:
    path, good = world.backup(), key_files(world)

    def change(member: tarfile.TarInfo, content: bytes) -> list[tuple[tarfile.TarInfo, bytes]]:
        if member.name.endswith("config.yaml"):
            content = b"version: 2\n"
        if member.name == "manifest.json":
            digest = hashlib.sha256(b"version: 2\n").hexdigest()
            value = json.loads(content)
            for name in value["files"]:
                if name.endswith("config.yaml"):
                    value["files"][name] = [11, digest]
            content = json.dumps(value).encode()
        return [(member, content)]

    spoiled = repacked(path, change)
    assert not check(spoiled).authentic
    with pytest.raises(BackupError, match="seal does not fit"):
        check(spoiled, good)
    with pytest.raises(BackupError, match="seal does not fit"):
        restore(world.elsewhere(), spoiled, good)


def planted(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd" if kind != tarfile.REGTYPE else ""
    return member


@pytest.mark.parametrize(
    "member",
    [
        planted("../outside"),
        planted("/etc/cron.d/x"),
        planted("tenants/../../outside"),
        planted("tenants/11111111-2222-4333-8444-555555555555/../../../outside"),
        planted("tenants/11111111-2222-4333-8444-555555555555/a/../b"),
        planted("tenants/not-a-uuid/zenml.db"),
        planted("control/other.db"),
        planted("keys/master.key"),
        planted("instance.json", tarfile.SYMTYPE),
        planted("tenants/11111111-2222-4333-8444-555555555555/zenml.db", tarfile.LNKTYPE),
        planted("tenants/11111111-2222-4333-8444-555555555555", tarfile.DIRTYPE),
        planted("keeper/uids.json", tarfile.CHRTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.type.decode()}",
)
def test_members_that_lead_elsewhere_are_refused_before_anything_is_written(
    world: World, member: tarfile.TarInfo
) -> None:
    spoiled = repacked(
        world.backup(),
        lambda each, content: [(each, content)] + ([(member, b"x")] if each.name == "format.json" else []),
    )
    config = world.elsewhere()
    with pytest.raises(BackupError, match="not made here"):
        restore(config, spoiled, key_files(world))
    assert not config.data_dir.exists()
    assert not (world.root / "outside").exists()


def test_members_twice_after_the_end_or_in_another_order_are_refused(world: World) -> None:
    path = world.backup()
    extra = planted("instance.json")
    for anchor, said in (("instance.json", "twice"), ("manifest.json", "not at its end"), ("manifest.hmac", "goes on")):
        spoiled = repacked(
            path,
            lambda each, content, anchor=anchor: [(each, content)] + ([(extra, b"{}")] if each.name == anchor else []),
        )
        with pytest.raises(BackupError, match=said):
            check(spoiled)
    without = repacked(path, lambda each, content: [(each, content)] if each.name != "control/control.db" else [])
    with pytest.raises(BackupError, match=r"control/control\.db is not what"):
        check(without)
    headless = repacked(path, lambda each, content: [(each, content)] if each.name != "format.json" else [])
    with pytest.raises(BackupError, match="no backup of Nagaya"):
        check(headless)


def test_a_newer_format_is_refused_with_its_version(world: World) -> None:
    newer = json.dumps({"format": archive.FORMAT + 1, "version": "9.1.0"}).encode()
    spoiled = repacked(world.backup(), lambda each, data: [(each, newer if each.name == "format.json" else data)])
    with pytest.raises(BackupError, match=r"made by Nagaya 9\.1\.0, whose format 2 is newer"):
        check(spoiled)
    broken = repacked(
        world.backup("b.tar.gz"), lambda each, data: [(each, b"[]" if each.name == "format.json" else data)]
    )
    with pytest.raises(BackupError, match="beginning of the backup is damaged"):
        check(broken)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x1f\x8b\x08garbage", os.urandom(5000)])
def test_other_files_are_no_backups(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(BackupError):
        check(path)
    with pytest.raises(BackupError, match="cannot be read"):
        check(tmp_path / "missing")


def test_a_restore_never_touches_a_directory_that_is_in_use(world: World) -> None:
    path, config = world.backup(), world.elsewhere()
    config.data_dir.mkdir()
    (config.data_dir / "mine.txt").write_text("mine")
    with pytest.raises(BackupError, match="not empty"):
        restore(config, path, key_files(world))
    assert (config.data_dir / "mine.txt").read_text() == "mine"
    with pytest.raises(BackupError, match="not empty"):
        restore(world.config, path, key_files(world))


def test_a_restore_that_was_killed_cannot_be_started_and_begins_anew(world: World) -> None:
    path, config = world.backup(), world.elsewhere()
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom nagaya.backup import restore as r\n"
        "from nagaya.backup.keys import KeyFiles\nfrom nagaya.runtime.config import PlatformConfig\n"
        "r._settle_database = lambda config: os.kill(os.getpid(), signal.SIGKILL)\n"
        "r.restore(PlatformConfig.create(Path(sys.argv[1])), Path(sys.argv[2]), KeyFiles.read(Path(sys.argv[3])))\n"
    )
    keys_dir = world.config.data_dir / "keys"
    done = subprocess.run([sys.executable, "-c", code, str(config.data_dir), str(path), str(keys_dir)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (config.data_dir / MARK).exists()
    with pytest.raises(SetupError, match=r"restore into .* was interrupted"):
        layout.prepare(config)
    restore(config, path, key_files(world))
    layout.prepare(config)
    assert rows(config.data_dir / "tenants" / world.tenants[1] / "zenml.db") == rows(world.database(world.tenants[1]))


def test_a_backup_that_was_killed_leaves_no_file_and_the_next_one_works(world: World) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom nagaya.backup import create as c\n"
        "from nagaya.runtime.config import PlatformConfig\n"
        "c._add_control = lambda *a: os.kill(os.getpid(), signal.SIGKILL)\n"
        "c.create(PlatformConfig.create(Path(sys.argv[1])), Path(sys.argv[2]), lambda config, work: work())\n"
    )
    target = world.root / "killed.tar.gz"
    done = subprocess.run([sys.executable, "-c", code, str(world.config.data_dir), str(target)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()
    # The child that read the database ends by itself, when nobody reads its pipe.
    leftover = world.config.control_dir / ".nagaya-backup-control.db"
    wait_for(lambda: not leftover.exists())
    leftover.write_text("from a backup whose child was killed as well")
    if os.geteuid() == 0:
        os.chown(leftover, world.config.service_uid or 0, -1)
    check(world.backup("killed.tar.gz"))
    assert not leftover.exists()
    assert [entry.name for entry in world.root.glob(".*")] == []


def test_an_existing_file_and_a_second_backup_at_once_are_refused(world: World) -> None:
    import fcntl  # noqa: PLC0415 - beside its only use.

    path = world.backup()
    before = path.read_bytes()
    with pytest.raises(BackupError, match="exists already"):
        create(world.config, path, directly)
    assert path.read_bytes() == before
    with (world.root / ".two.tar.gz.partial").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BackupError, match="Another backup"):
            create(world.config, world.root / "two.tar.gz", directly)
    with pytest.raises(BackupError, match="cannot be written"):
        create(world.config, world.root / "no" / "such" / "directory", directly)


@root_only
def test_a_full_disk_leaves_nothing_behind(world: World) -> None:
    small = world.root / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this host permits no mounts")
    try:
        fill = world.database(world.tenants[2]).with_name("large.bin")
        fill.write_bytes(os.urandom(1 << 20))
        with pytest.raises(BackupError, match=r"disk of .* is full"):
            create(world.config, small / "backup.tar.gz", directly)
        assert list(small.iterdir()) == []
        path = world.backup()
        with pytest.raises(BackupError, match="too little room"):
            restore(world.elsewhere(small / "d"), path, key_files(world))
    finally:
        subprocess.run(["umount", str(small)], check=True)


@root_only
def test_root_does_not_follow_what_a_tenant_plants(world: World) -> None:
    directory = world.config.data_dir / "tenants" / world.tenants[0]
    uid = directory.stat().st_uid
    secret = world.root / "secret.db"
    shutil.copy(world.database(world.tenants[1]), secret)
    secret.chmod(0o600)
    (directory / "link.db").symlink_to(secret)
    (directory / "away").symlink_to(world.root)
    os.mkfifo(directory / "fifo")
    closed = directory / "closed"
    closed.write_text("root's own file here")
    closed.chmod(0o600)
    with pytest.raises(BackupError, match="Permission denied"):
        world.backup()
    os.chown(closed, uid, uid)
    found = {name for name in names(world.backup()) if world.tenants[0] in name}
    assert found == {f"tenants/{world.tenants[0]}/{name}" for name in ("zenml.db", "config/config.yaml", "closed")}


def test_a_tenant_that_vanishes_meanwhile_is_left_out(world: World) -> None:
    shutil.rmtree(world.config.data_dir / "tenants" / world.tenants[0])
    taken: list[str] = []
    copy_tree(world.config.data_dir / "tenants" / world.tenants[0], None, lambda name, *_: taken.append(name))
    assert taken == []
    assert check(world.backup()).manifest.tenants == 2


def test_a_directory_without_a_platform_is_refused(world: World) -> None:
    with pytest.raises(BackupError, match="There is no platform"):
        create(world.elsewhere(), world.root / "x.tar.gz", directly)


def test_a_large_backup_goes_through_little_memory(world: World) -> None:
    large = world.database(world.tenants[0]).with_name("large.bin")
    with large.open("wb") as stream:
        stream.truncate(200 << 20)
    if os.geteuid() == 0:
        uid = large.parent.stat().st_uid
        os.chown(large, uid, uid)
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom nagaya.backup.create import create\n"
        "from nagaya.runtime.config import PlatformConfig\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "create(PlatformConfig.create(Path(sys.argv[1])), Path(sys.argv[2]), lambda config, work: work())\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", code, str(world.config.data_dir), str(world.root / "large.tar.gz")]
    began = time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout) < 40 * 1024
    assert time.monotonic() - began < 60
    assert check(world.root / "large.tar.gz").manifest.room > 200 << 20
