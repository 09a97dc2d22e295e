"""Fixtures of the guard's tests: the real ZenML application in this process, on a stamped SQLite database.

They need an engine's environment (ZenML installed); elsewhere nothing here is collected.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

collect_ignore_glob = ["test_*.py"] if find_spec("zenml") is None else []

if TYPE_CHECKING:
    from collections.abc import Iterator

if not collect_ignore_glob:
    sys.path.insert(0, str(Path(__file__).parent))
    from cloud import Cloud, FakeApi
    from world import World


def pytest_configure(config: pytest.Config) -> None:
    # ZenML's own handlers use fields that its models mark as deprecated.
    config.addinivalue_line("filterwarnings", "ignore:deprecated:DeprecationWarning")
    # ZenML deletes a stack's rows twice, once by cascade; SQLAlchemy only warns.
    config.addinivalue_line("filterwarnings", "ignore:DELETE statement on table:sqlalchemy.exc.SAWarning")
    # FastAPI 0.115, which ZenML 0.94.6 pins, makes fields of its models in a way that today's pydantic remarks on.
    config.addinivalue_line("filterwarnings", "ignore:The '(exclude|deprecated)' attribute with value True")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One tenant's application, started; the policy and the control plane's behaviour are reset before each use."""
    world = World(tmp_path_factory.mktemp("tenant"))
    world.start()
    yield world
    world.stop()


@pytest.fixture
def tenant(world: World) -> World:
    """The application with the standard members."""
    world.reset()
    return world


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def api(tmp_path: Path) -> FakeApi:
    return FakeApi(tmp_path / "channel.sock")
