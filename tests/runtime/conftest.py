"""Fixtures of the runtime's tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.support import KeeperProcess, running_keeper


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path that every user can traverse (pytest's own are 0700 and long)."""
    with tempfile.TemporaryDirectory(prefix="nagaya-test-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def keeper(place: Path) -> Iterator[KeeperProcess]:
    """A running keeper with the stand-in engine."""
    with running_keeper(place, failure_limit=5) as process:
        yield process
