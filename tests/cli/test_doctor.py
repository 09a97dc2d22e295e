"""nagaya doctor: what it finds on this machine, and on machines with something wrong."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.authority import Authority
from nagaya.cli import doctor
from nagaya.cli.doctor import Finding
from nagaya.engines import locks
from nagaya.runtime.config import PlatformConfig
from tests.cli.conftest import Nagaya
from tests.runtime.support import FakeEngine


@pytest.fixture
def config(tmp_path: Path) -> PlatformConfig:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return PlatformConfig.create(tmp_path / "data", port=port, service_uid=None, tenant_uids=None)


def found(config: PlatformConfig) -> dict[str, Finding]:
    return {finding.check: finding for finding in doctor.examine(config)}


def test_a_healthy_machine(config: PlatformConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(config.engines_dir, "0.98.0")
    # As if that had been installed by this very release.
    monkeypatch.setattr(locks, "source_root", lambda: engine.site)
    config.data_dir.chmod(0o700)
    findings = found(config)
    assert [name for name, finding in findings.items() if finding.state == "error"] == []
    assert findings["engine_0.98.0"].message == "The engine 0.98.0 is healthy."


def test_engines_that_are_missing_damaged_or_outdated(config: PlatformConfig) -> None:
    assert found(config)["engines"].state == "error"
    (FakeEngine(config.engines_dir, "0.1.0").directory / "nagaya" / "engine.json").unlink()
    (FakeEngine(config.engines_dir, "0.2.0").directory / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    FakeEngine(config.engines_dir, "0.3.0")
    findings = found(config)
    assert findings["engine_0.1.0"].message == (
        "The engine 0.1.0 is damaged: its record nagaya/engine.json is missing or cannot be read."
    )
    assert findings["engine_0.1.0"].advice == "Repair it: nagaya engine install 0.1.0 --repair"
    assert findings["engine_0.2.0"].message == "The engine 0.2.0 is damaged: its interpreter does not start."
    assert findings["engine_0.3.0"].state == "warning"


def test_a_key_that_others_can_read(config: PlatformConfig) -> None:
    key = config.data_dir / "keys" / "master.key"
    key.parent.mkdir(parents=True)
    key.touch(mode=0o600)
    assert found(config)["master_key"].state == "ok"
    key.chmod(0o644)
    assert found(config)["master_key"].advice == f"chmod 600 {key}"


def test_a_data_directory_that_is_not_ours(config: PlatformConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "cannot be made" in found(config)["data_directory"].message
    config.data_dir.mkdir()
    assert "not yours to write" in found(config)["data_directory"].message


@pytest.mark.parametrize(("free", "state"), [(1 << 20, "error"), (2 << 30, "warning"), (50 << 30, "ok")])
def test_the_disk(config: PlatformConfig, monkeypatch: pytest.MonkeyPatch, free: int, state: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert found(config)["disk"].state == state


def test_a_clock_that_went_back(config: PlatformConfig) -> None:
    config.data_dir.mkdir()
    instance = config.data_dir / "instance.json"
    instance.touch()
    os.utime(instance, (4_000_000_000, 4_000_000_000))
    assert found(config)["clock"].state == "error"


@pytest.mark.parametrize(("answer", "state"), [(0, "ok"), (doctor.TIME_ERROR, "warning")])
def test_the_kernel_knows_whether_the_clock_is_synchronised(
    config: PlatformConfig, monkeypatch: pytest.MonkeyPatch, answer: int, state: str
) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace(adjtimex=lambda _buffer: answer))
    assert next(iter(doctor.check_clock(config))).state == state


def test_a_port_that_is_taken(config: PlatformConfig) -> None:
    with socket.socket() as taken:
        taken.bind((config.host, config.port))
        taken.listen()
        assert found(config)["port"].state == "warning"
    assert found(config)["port"].state == "ok"


def test_kernels_that_lack_something(config: PlatformConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "can_unshare", lambda _: False)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.delattr(os, "pidfd_open")
    findings = found(config)
    assert findings["pidfd"].state == "error"
    assert findings["mount_namespace"].state == "warning"
    assert findings["user_namespace"].state == "warning"


def test_other_systems_and_old_pythons(config: PlatformConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    assert next(iter(doctor.check_python(config))).state == "error"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "needs Linux" in next(iter(doctor.check_python(config))).message


def test_what_is_not_protected_is_said(tmp_path: Path) -> None:
    alone = PlatformConfig.create(tmp_path / "a", service_uid=None, tenant_uids=None, public_url="http://zenml.test")
    findings = {finding.check: finding for finding in doctor.check_protection(alone)}
    assert findings["tenant_users"].message.startswith("Everything runs as one user")
    assert "not encrypted" in findings["transport"].message
    walled = PlatformConfig.create(
        tmp_path / "b", service_uid=199990, tenant_uids=(1_900_000_000, 1_900_000_009), public_url="https://zenml.test"
    )
    assert {finding.state for finding in doctor.check_protection(walled)} == {"ok"}


def test_a_check_that_breaks_does_not_hide_the_others(config: PlatformConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise OSError("no such thing")

    monkeypatch.setattr(shutil, "disk_usage", fail)
    findings = found(config)
    assert "The check itself failed: OSError" in findings["disk"].message
    assert "port" in findings


def test_the_command_exits_with_two_when_something_is_wrong(nagaya: Nagaya) -> None:
    result = nagaya("doctor")
    assert result.code == 2
    assert "No engine is installed" in result.out
    rows = nagaya("doctor", "--json").json
    assert {"check", "state", "message", "advice"} == set(rows[0])


def test_a_data_directory_that_does_not_exist_yet(config: PlatformConfig) -> None:
    assert "will make it" in found(config)["data_directory"].message


def test_user_ids_that_somebody_else_uses_too(tmp_path: Path) -> None:
    other = PlatformConfig.create(tmp_path / "other", service_uid=None, tenant_uids=(900_000, 900_010))
    other.save()
    code = "print(flush=True); import sys; sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "nagaya.supervisor.main", str(other.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        for uids, warned in (((900_010, 900_020), True), ((900_011, 900_020), False)):
            config = PlatformConfig.create(tmp_path / "data", service_uid=None, tenant_uids=uids)
            messages = [item.message for item in doctor.check_protection(config) if item.check == "tenant_uids"]
            assert any(str(other.data_dir) in message for message in messages) is warned
        assert list(doctor.check_uid_overlap(other.run_dir, 900_000, 900_010)) == []
    finally:
        process.communicate()


def test_the_certificate(config: PlatformConfig, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    assert "certificate" not in found(config)
    good = authority.issue("zenml.example.test", "*.zenml.example.test")
    pattern = {"tenant_hosts": "{tenant}--{organization}.zenml.example.test"}
    secure = replace(
        config, public_url="https://zenml.example.test", tls_certificate=good[0], tls_key=good[1], gateway=pattern
    )
    assert found(secure)["certificate"].state == "ok"
    assert found(secure)["transport"].state == "ok"
    narrow = authority.issue("zenml.example.test", file="narrow")
    finding = found(replace(secure, tls_certificate=narrow[0], tls_key=narrow[1]))["certificate"]
    assert (finding.state, "does not cover tenant--organization" in finding.message) == ("warning", True)
    finding = found(replace(secure, tls_key=narrow[1]))["certificate"]
    assert (finding.state, "does not belong to the certificate" in finding.message) == ("error", True)
