"""Fixtures of the tests of the control database itself."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.postgres import PostgresServer
from nagaya.db.engine import Database, database_url
from tests import databases


def pytest_sessionfinish() -> None:
    """Ends the PostgreSQL server of the session."""
    databases.close()


@pytest.fixture
def server() -> PostgresServer:
    """The session's PostgreSQL server."""
    return databases.server()


@pytest.fixture(name="empty")
def fixture_empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Database]]:
    """Makes empty databases of the kind that the test is parametrized with."""
    kind: str = request.param
    made: list[tuple[Path, Database]] = []

    def make() -> Database:
        directory = tmp_path / uuid.uuid4().hex
        url = databases.database_url(directory, kind=kind)
        (directory / "control").mkdir(parents=True)
        made.append((directory, Database(database_url(directory, url))))
        return made[-1][1]

    yield make
    for directory, database in made:
        database.close()
        databases.forget(directory)


on_both = pytest.mark.parametrize("empty", databases.KINDS, indirect=True)
