"""The schema that migrations make is the one that the models describe, and a newer one is refused."""

import warnings

import pytest
from sqlalchemy import inspect, text

from nagaya.db.errors import SchemaError
from nagaya.db.migrate import differences, upgrade
from nagaya.db.tables import metadata
from tests.api.world import World


def test_migrations_and_models_agree(world: World) -> None:
    with warnings.catch_warnings():
        # Alembic cannot compare indexes on expressions on SQLite; their names are compared below.
        warnings.filterwarnings("ignore", message="autogenerate skipping metadata-specified expression-based index")
        warnings.filterwarnings("ignore", message="Skipped unsupported reflection of expression-based index")
        assert differences(world.state.database) == []


def test_every_index_of_the_models_exists(world: World) -> None:
    with world.state.database.engine.connect() as connection, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Skipped unsupported reflection of expression-based index")
        if world.state.database.is_sqlite:
            rows = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'index'"))
            made = {row[0] for row in rows}
        else:
            inspector = inspect(connection)
            made = {index["name"] for table in metadata.tables for index in inspector.get_indexes(table)}
    wanted = {str(index.name) for table in metadata.tables.values() for index in table.indexes}
    assert wanted <= made


def test_upgrading_twice_changes_nothing_and_a_newer_schema_is_refused(world: World) -> None:
    database = world.state.database
    upgrade(database)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        session.commit()
    with pytest.raises(SchemaError, match="newer version of Nagaya"):
        upgrade(database)
