"""Fixtures of the pages' tests: a template that is migrated once, and copies of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.world import Settled, World, settle

from nagaya.http.logs import configure


@pytest.fixture(scope="session", autouse=True)
def logs() -> None:
    """Writes logs as the real process does."""
    configure()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with keys and an empty database."""
    directory = tmp_path_factory.mktemp("template")
    World(directory).close()
    return directory


@pytest.fixture(name="world")
def fixture_world(tmp_path: Path, template: Path) -> Iterator[World]:
    """An empty world."""
    world = World(tmp_path / "data", template)
    yield world
    world.close()


@pytest.fixture(name="settled")
def fixture_settled(world: World) -> Settled:
    """A world with an organization, a tenant and people."""
    return settle(world)
