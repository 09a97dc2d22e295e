"""Fixtures of the supervisor's tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.supervisor.support import Platform, running_platform


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path that every user can traverse (pytest's own are 0700 and long)."""
    with tempfile.TemporaryDirectory(prefix="nagaya-test-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def platform(place: Path) -> Iterator[Platform]:
    """A running platform with the stand-in engine."""
    with running_platform(place) as process:
        yield process
