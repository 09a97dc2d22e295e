"""The gateway's copy of certificate and key: who may read it, and that it follows the files."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from harness.authority import Authority
from nagaya.gateway.settings import GatewaySettings
from nagaya.gateway.tls import server_context
from nagaya.runtime.config import PlatformConfig
from nagaya.supervisor import layout
from nagaya.supervisor.certificate import CertificateCopy
from nagaya.supervisor.sockets import bind_all
from tests.supervisor.support import free_port

NAME = "zenml.example.test"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whose certificates are used."""
    return Authority(tmp_path / "authority")


def config_at(place: Path, authority: Authority, **settings: object) -> PlatformConfig:
    certificate, key = authority.issue(NAME)
    files = {"tls_certificate": certificate, "tls_key": key, "public_url": f"https://{NAME}"}
    config = PlatformConfig.create(place / "d", port=free_port(), **(files | settings))
    layout.prepare(config)
    config.save()
    return config


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has users to give")
def test_the_copy_belongs_to_the_gateway_and_follows_the_files(
    place: Path, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_at(place, authority)
    copy = CertificateCopy(config)
    assert copy.refresh()
    status = config.tls_copy.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_uid) == (0o400, config.gateway_uid)
    settings = GatewaySettings.from_file(config.path)
    assert (settings.tls_certificate, settings.tls_key) == (str(config.tls_copy), None)
    server_context(config.tls_copy, None)
    first = config.tls_copy.read_bytes()
    assert not copy.refresh()
    authority.issue(NAME)
    assert copy.refresh()
    assert config.tls_copy.read_bytes() != first
    assert config.tls_key is not None
    config.tls_key.unlink()
    for _ in range(2):
        assert not copy.refresh()
    assert caplog.text.count("cannot be read, the last one is kept") == 1
    server_context(config.tls_copy, None)
    assert not list(config.run_dir.glob("tls.pem.*"))


def test_without_users_of_their_own_the_gateway_reads_the_files(place: Path, authority: Authority) -> None:
    config = config_at(place, authority, service_uid=None, tenant_uids=None)
    assert not CertificateCopy(config).refresh()
    assert not config.tls_copy.exists()
    settings = GatewaySettings.from_file(config.path)
    assert (settings.tls_certificate, settings.tls_key) == (str(config.tls_certificate), str(config.tls_key))
    assert PlatformConfig.load(config.path).tls_key == config.tls_key


def test_a_copy_in_a_missing_directory_is_only_told(
    place: Path, authority: Authority, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    config = config_at(place, authority, service_uid=12345, tls_key=tmp_path / "nowhere" / "key.pem")
    assert not CertificateCopy(config).refresh()
    assert "nowhere" in caplog.text


def test_the_redirecting_port_is_bound_with_the_others(place: Path, authority: Authority) -> None:
    config = config_at(place, authority, redirect_port=free_port())
    sockets = bind_all(config)
    assert sockets["redirect"].getsockname()[1] == config.redirect_port
    for each in sockets.values():
        each.close()
