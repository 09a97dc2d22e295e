"""Fixtures of the api's tests: a template that is migrated once, and copies of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from nagaya.http.logs import configure
from tests import databases
from tests.api.tenants.installation import Installation, installation
from tests.api.world import Settled, World, settle

MAKES_A_DATABASE = frozenset({"world", "settled", "api", "template", "tmp_path", "tmp_path_factory"})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out, on the second database, tests that have none: they would only be repeated."""
    if databases.CHOSEN == "sqlite":
        return
    here = Path(__file__).parent
    repeated = [
        item
        for item in items
        if here in item.path.parents and not MAKES_A_DATABASE.intersection(getattr(item, "fixturenames", ()))
    ]
    config.hook.pytest_deselected(items=repeated)
    items[:] = [item for item in items if item not in repeated]


def pytest_sessionfinish() -> None:
    """Ends the PostgreSQL server of the session."""
    databases.close()


@pytest.fixture(scope="session", autouse=True)
def logs() -> None:
    """Writes logs as the real process does."""
    configure()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with keys and an empty database."""
    directory = tmp_path_factory.mktemp("template")
    World(directory).close(keep=True)
    return directory


@pytest.fixture(name="world")
def fixture_world(tmp_path: Path, template: Path) -> Iterator[World]:
    """An empty world."""
    world = World(tmp_path / "data", template)
    yield world
    world.close()


@pytest.fixture(scope="session")
def settled_template(tmp_path_factory: pytest.TempPathFactory, template: Path) -> tuple[Path, Settled]:
    """A data directory with an organization, a tenant and people."""
    directory = tmp_path_factory.mktemp("settled")
    world = World(directory, template)
    settled = settle(world)
    world.close(keep=True)
    return directory, settled


@pytest.fixture(name="settled")
def fixture_settled(tmp_path: Path, settled_template: tuple[Path, Settled]) -> Iterator[Settled]:
    """A world with an organization, a tenant and people."""
    directory, settled = settled_template
    world = World(tmp_path / "settled", directory)
    yield settled.with_world(world)
    world.close()


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An api process of the module's own, over a runtime that does everything at once."""
    with installation(tmp_path_factory.mktemp("data")) as running:
        yield running
