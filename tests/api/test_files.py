"""Which files of the control plane others on the same machine can read."""

import os
from pathlib import Path

import pytest

from nagaya.db.engine import Database, make_private


def test_the_database_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        database = Database(f"sqlite:///{tmp_path / 'control.db'}")
        with database.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE secrets (value TEXT)")
            modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        database.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("control.db", "control.db-wal", "control.db-shm"), 0o600)


def test_a_database_of_an_earlier_start_is_closed_to_others(tmp_path: Path) -> None:
    for name in ("control.db", "control.db-wal"):
        (tmp_path / name).touch(mode=0o644)
    make_private(tmp_path / "control.db")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_link_in_place_of_the_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other").touch(mode=0o644)
    (tmp_path / "control.db").symlink_to(tmp_path / "other")
    with pytest.raises(OSError, match="symbolic"):
        Database(f"sqlite:///{tmp_path / 'control.db'}")
    assert (tmp_path / "other").stat().st_mode & 0o777 == 0o644
