"""A schema that is up to date is left alone at once: without Alembic, and without a turn to write."""

import subprocess
import sys
from pathlib import Path

from sqlalchemy import text

from nagaya.db.engine import Database
from nagaya.db.migrate import newest_revision, revisions, upgrade

START = """
import sys
from nagaya.db.engine import Database
from nagaya.db.migrate import upgrade
upgrade(Database(sys.argv[1]))
print(sorted({"alembic", "psycopg"} & set(sys.modules)))
"""


def started(url: str) -> str:
    """Upgrades in a process of its own; returns which large libraries that took."""
    done = subprocess.run([sys.executable, "-c", START, url], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_the_newest_revision_is_alembics(tmp_path: Path) -> None:
    assert revisions(Database(f"sqlite:///{tmp_path / 'control.db'}"))[-1] == newest_revision()


def test_only_a_schema_that_is_not_current_takes_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'control.db'}"
    assert started(url) == "['alembic']"
    assert started(url) == "[]"


def test_a_current_schema_is_found_while_somebody_writes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'control.db'}"
    upgrade(Database(url))
    with Database(url).engine.connect() as writer, writer.begin():
        writer.execute(text("UPDATE alembic_version SET version_num = version_num"))
        upgrade(Database(url))  # A turn to write would come only after 20 s, with an error.
