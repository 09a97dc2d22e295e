"""Upgrades from every earlier schema keep all rows, on both databases, and two processes may begin one at once."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import func, select, text

from nagaya.db.engine import Database
from nagaya.db.migrate import revisions, upgrade
from nagaya.db.tables import metadata
from tests.database.conftest import on_both
from tests.database.rows import columns, fill, snapshot

ROOT = Path(__file__).resolve().parents[2]
UPGRADE = """
import sys
from nagaya.db.engine import Database
from nagaya.db.migrate import upgrade
upgrade(Database(sys.argv[1]))
"""


@on_both
def test_every_earlier_schema_is_upgraded_with_its_rows(empty: Callable[[], Database]) -> None:
    for revision in revisions(empty())[:-1]:
        database = empty()
        upgrade(database, revision)
        with database.engine.connect() as connection, connection.begin():
            fill(connection)
            kept, before = columns(connection), snapshot(connection)
            del kept["alembic_version"]
        assert all(len(rows) == 2 for rows in before.values())
        upgrade(database)
        with database.engine.connect() as connection:
            assert snapshot(connection, kept) == before, f"after the upgrade from {revision}"
        with database.read() as session:
            for table in metadata.sorted_tables:
                # Rows of old versions can be read by the code of this one: by its types, and with its columns.
                assert session.execute(select(table)).all() is not None
                assert session.scalar(select(func.count()).select_from(table)) == (2 if table.name in before else 0)


@on_both
def test_processes_that_upgrade_at_once_do_it_once(empty: Callable[[], Database]) -> None:
    database = empty()
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", UPGRADE, database.url]
    running = [
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) for _ in range(3)
    ]
    errors = [process.communicate(timeout=100)[1].decode() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], errors
    with database.read() as session:
        assert session.scalars(text("SELECT version_num FROM alembic_version")).all() == [revisions(database)[-1]]
