"""Keys and database are made by the api's user, also when root starts the platform."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nagaya.cli.bootstrap import administrator_token, bootstrap
from nagaya.cli.errors import CliError
from nagaya.cli.service_user import as_service
from nagaya.runtime.config import PlatformConfig
from nagaya.supervisor import layout

PASSWORD = "correct horse battery staple"


@pytest.fixture
def config(tmp_path: Path) -> PlatformConfig:
    """A platform that has never been started."""
    made = PlatformConfig.create(tmp_path / "data")
    layout.prepare(made)
    return made


def owners(directory: Path) -> set[int]:
    """Who owns the files of a directory."""
    return {path.stat().st_uid for path in directory.iterdir()}


def test_every_start_leaves_only_files_of_the_api(config: PlatformConfig) -> None:
    owner = os.getuid() if config.service_uid is None else config.service_uid
    made = bootstrap(config, admin_email="ada@example.com", admin_password=PASSWORD)
    assert (made.admin_email, made.setup_url) == ("ada@example.com", None)
    assert made.token
    assert bootstrap(config, admin_email=None, admin_password=None).admin_email is None
    assert administrator_token(config)
    assert (config.control_dir / "control.db").exists()
    assert owners(config.control_dir) == owners(config.data_dir / "keys") == {owner}
    assert {path.stat().st_mode & 0o077 for path in config.control_dir.iterdir()} == {0}


def test_what_goes_wrong_there_is_said_here(config: PlatformConfig) -> None:
    with pytest.raises(CliError, match="12 characters") as caught:
        bootstrap(config, admin_email="ada@example.com", admin_password="short")
    assert caught.value.code == 2
    (config.data_dir / "keys" / "signing.pem").write_text("no key")
    with pytest.raises(CliError, match="is not a private key"):
        administrator_token(config)


@pytest.mark.skipif(os.geteuid() != 0, reason="without root there is no other user")
def test_the_work_has_no_privileges_and_may_die(config: PlatformConfig) -> None:
    def about() -> dict[str, str | None]:
        return {"uids": str(os.getresuid()), "gids": str(os.getresgid()), "groups": str(os.getgroups())}

    user = config.service_uid
    told = as_service(config, about)
    assert told == {"uids": str((user,) * 3), "gids": str((user,) * 3), "groups": "[]"}
    assert os.geteuid() == 0
    with pytest.raises(CliError, match="ended with 7"):
        as_service(config, lambda: os._exit(7))
    with pytest.raises(CliError, match="ZeroDivisionError"):
        as_service(config, lambda: {"x": str(1 // 0)})
