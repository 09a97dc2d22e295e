"""nagaya doctor on an installation that works, and on ones with something wrong; all without a running platform."""

from __future__ import annotations

import datetime as dt
import os
import resource
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from nagaya.cli import doctor, doctor_host, doctor_platform
from nagaya.cli.findings import Finding
from nagaya.runtime.files import write_json
from tests.backup.conftest import World, world

__all__ = ["world"]


def found(world: World) -> dict[str, Finding]:
    return {item.check: item for check in doctor_platform.CHECKS for item in check(world.config)}


def test_an_installation_that_works(world: World) -> None:
    findings = found(world)
    assert {name: item.state for name, item in findings.items()} == {
        "permissions": "ok", "keys": "ok", "database": "ok", "leftovers": "ok", "backup": "warning", "origin": "notice",
    }  # fmt: skip
    world.backup()
    assert found(world)["backup"].state == "ok"
    assert "0001" in findings["database"].message or "schema" in findings["database"].message


def test_a_directory_that_nothing_was_ever_started_in(world: World) -> None:
    config = world.elsewhere()
    states = {item.check: item.state for check in doctor_platform.CHECKS for item in check(config)}
    assert states == {"database": "ok", "leftovers": "ok", "origin": "notice"}


def test_modes_owners_and_links_that_are_wrong(world: World) -> None:
    keys = world.config.data_dir / "keys"
    keys.chmod(0o755)
    tenant = world.config.data_dir / "tenants" / world.tenants[0]
    if os.geteuid() == 0:
        os.chown(tenant, 12345, 12345)
    world.config.log_dir.rmdir()
    world.config.log_dir.symlink_to(world.root)
    said = [item.message for item in doctor_platform.check_permissions(world.config)]
    assert any(f"{keys} has the mode 755" in text for text in said)
    assert any("is a symbolic link" in text for text in said)
    assert any("belongs to user 12345 instead of" in text for text in said) == (os.geteuid() == 0)


def test_keys_that_are_missing_or_others(world: World) -> None:
    with closing(sqlite3.connect(world.config.control_dir / "control.db")) as database:
        columns = [row[1:] for row in database.execute("PRAGMA table_info(tenants)")]
        database.execute("PRAGMA foreign_keys=OFF")
        values = {name: sample(kind) for name, kind, required, default, _ in columns if required and default is None}
        values |= {"jwt_secret": f"v1.0badc0de.{secrets.token_urlsafe(40).replace('.', '_')}"}
        marks = ",".join("?" for _ in values)
        database.execute(f"INSERT INTO tenants ({','.join(values)}) VALUES ({marks})", list(values.values()))
        database.commit()
    assert "other keys (0badc0de)" in found(world)["keys"].message
    (world.config.data_dir / "keys" / "signing.pem").unlink()
    finding = found(world)["keys"]
    assert (finding.state, "signing.pem" in finding.message) == ("error", True)


def sample(kind: str) -> object:
    """A value that a column of this type takes."""
    if kind.startswith(("CHAR", "VARCHAR", "TEXT")):
        return "0" * 32
    return "2026-01-01 00:00:00.000000" if kind == "DATETIME" else "{}" if kind == "JSON" else 1


def test_a_control_database_that_is_missing_or_damaged(world: World) -> None:
    path = world.config.control_dir / "control.db"
    content = path.read_bytes()
    path.write_bytes(content[:100] + os.urandom(len(content) - 100))
    assert found(world)["database"].state == "error"
    for name in world.config.control_dir.iterdir():
        name.unlink()
    assert "file is missing" in found(world)["database"].message


def test_a_backup_that_is_old(world: World) -> None:
    made = dt.datetime.now(dt.UTC) - dt.timedelta(days=30)
    write_json(world.config.data_dir / "backup.json", {"created": made.isoformat(), "file": "x"})
    assert found(world)["backup"].message == "The last backup is 30 days old."


def host(check: str, world: World) -> Finding:
    return next(iter(getattr(doctor_host, f"check_{check}")(world.config)))


def test_a_machine_that_has_everything(world: World) -> None:
    for check in doctor_host.CHECKS:
        for finding in check(world.config):
            assert finding.message
            assert finding.state != "error", finding


@pytest.mark.parametrize(("hard", "state"), [(512, "error"), (4096, "warning"), (1 << 20, "ok"), (-1, "ok")])
def test_the_limit_on_open_files(world: World, monkeypatch: pytest.MonkeyPatch, hard: int, state: str) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (hard, hard))
    assert host("open_files", world).state == state


@pytest.mark.parametrize(("free", "state"), [(5, "error"), (30, "warning"), (900, "ok")])
def test_the_inodes(world: World, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=1000, f_favail=free))
    assert host("inodes", world).state == state
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=0, f_favail=0))
    assert host("inodes", world).state == "ok"


@pytest.mark.parametrize(("seconds", "state"), [(0.0, "ok"), (0.1, "warning"), (0.9, "error")])
def test_the_speed_of_durable_writes(world: World, monkeypatch: pytest.MonkeyPatch, seconds: float, state: str) -> None:
    def clock() -> Iterator[float]:
        now = 0.0
        while True:
            yield now
            now += seconds

    times = clock()
    monkeypatch.setattr(time, "perf_counter", lambda: next(times))
    assert host("sync", world).state == state


def test_what_the_kernel_or_the_system_lacks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_self: Path, **_: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace(prctl=lambda *_: -1))
    assert host("subreaper", world).state == "error"
    monkeypatch.setattr("shutil.which", lambda _: None)
    assert host("sandbox", world).state == "notice"
    monkeypatch.setattr(Path, "read_text", lambda _self, **_: "128")
    assert host("sockets", world).state == "warning"
    monkeypatch.setattr(Path, "read_text", absent)
    assert host("cgroups", world).state == "notice"
    monkeypatch.setenv("TZ", "Nowhere/Atlantis")
    assert host("time_zone", world).state == "warning"


def test_every_check_has_a_name_of_its_own(world: World) -> None:
    names = [finding.check for finding in doctor.examine(world.config)]
    # Several may be said about others that use the same numbers, and about each wrong file.
    names = [name for name in names if name not in {"tenant_uids", "permissions"}]
    assert len(names) == len(set(names)), names
