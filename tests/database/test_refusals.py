"""What is wrong with NAGAYA_DATABASE_URL or its server is said in one sentence, without the password."""

import gc
from pathlib import Path

import pytest

from harness.postgres import PostgresServer
from nagaya.app_state import create_state
from nagaya.cli.bootstrap import bootstrap
from nagaya.cli.errors import CliError
from nagaya.db import migrate
from nagaya.db.errors import DatabaseUrlError, SchemaError
from nagaya.http.settings import ApiSettings
from nagaya.runtime.config import PlatformConfig
from nagaya.supervisor import layout

SECRET = "correct-horse"


def sentence(directory: Path, url: str) -> str:
    """What the api says when it cannot start with `url`."""
    with pytest.raises((SchemaError, DatabaseUrlError)) as caught:
        create_state(ApiSettings(data_dir=directory, public_url="http://nagaya.test", database_url=url))
    text = str(caught.value)
    # A connection that was left open warns here, and not in whatever test the collector happens to run in.
    del caught
    gc.collect()
    assert text.endswith(".")
    assert "\n" not in text
    assert SECRET not in text
    return text


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nonsense", "not a URL of the form"),
        ("mysql://nagaya:correct-horse@localhost/nagaya", "mysql is not supported"),
        ("postgresql://nagaya:correct-horse@localhost", "names no database"),
        ("postgresql://nagaya:correct-horse@127.0.0.1:1/nagaya", "no server answers there"),
        ("postgresql://nagaya:correct-horse@nowhere.invalid/nagaya", "host"),
        ("postgresql:///nagaya?host=/nowhere&password=correct-horse", "no server answers there"),
    ],
)
def test_a_url_that_leads_nowhere(tmp_path: Path, url: str, expected: str) -> None:
    assert expected in sentence(tmp_path, url)


def test_a_server_that_refuses(tmp_path: Path, server: PostgresServer) -> None:
    assert "refuses the password" in sentence(tmp_path, server.url("postgres", password=SECRET))
    assert "the database does not exist" in sentence(tmp_path, server.url("nowhere"))
    server.execute(f"CREATE ROLE guest LOGIN PASSWORD '{SECRET}'")
    name = server.create()
    assert "owner of the database" in sentence(tmp_path, server.url(name, role="guest", password=SECRET))
    server.drop(name)
    server.execute("DROP ROLE guest")


def test_a_server_that_is_too_old(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "OLDEST_POSTGRESQL", 99)
    name = server.create()
    assert "install version 99 or newer" in sentence(tmp_path, server.url(name))
    server.drop(name)


def test_the_older_name_of_the_scheme_and_options_in_the_url(tmp_path: Path, server: PostgresServer) -> None:
    name = server.create()
    url = server.url(name).replace("postgresql://", "postgres://") + "?options=-c%20lock_timeout%3D3s&connect_timeout=3"
    state = create_state(ApiSettings(data_dir=tmp_path, public_url="http://nagaya.test", database_url=url))
    with state.database.engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "3s"
        assert connection.exec_driver_sql("SHOW timezone").scalar() == "UTC"
    state.database.close()
    server.drop(name)


def test_the_first_start_makes_everything_and_tells_what_is_wrong(tmp_path: Path, server: PostgresServer) -> None:
    name = server.create()
    config = PlatformConfig.create(tmp_path / "data", database_url=server.url(name))
    layout.prepare(config)
    made = bootstrap(config, admin_email="ada@example.com", admin_password="correct horse battery staple")
    assert made.admin_email == "ada@example.com"
    assert not (config.control_dir / "control.db").exists()
    config.save()
    assert server.password not in config.path.read_text()
    assert (config.run_dir / "api.json").stat().st_mode & 0o077 == 0
    server.drop(name)
    with pytest.raises(CliError, match="the database does not exist") as caught:
        bootstrap(config, admin_email=None, admin_password=None)
    assert caught.value.code == 6
