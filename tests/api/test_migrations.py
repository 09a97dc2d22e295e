"""The schema that migrations make is the one that the models describe, and a newer one is refused."""

import warnings
from pathlib import Path

import pytest
from sqlalchemy import text

from nagaya.db.engine import Database
from nagaya.db.migrate import SchemaError, differences, upgrade
from tests.api.world import World


def test_migrations_and_models_agree(world: World) -> None:
    with warnings.catch_warnings():
        # Alembic cannot compare the one index on an expression; the test of emails in any case covers it.
        warnings.filterwarnings("ignore", message="autogenerate skipping metadata-specified expression-based index")
        assert differences(world.state.database) == []


def test_upgrading_twice_changes_nothing_and_a_newer_schema_is_refused(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'control.db'}")
    upgrade(database)
    upgrade(database)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        session.commit()
    with pytest.raises(SchemaError, match="newer version of Nagaya"):
        upgrade(database)
    database.close()
