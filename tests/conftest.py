"""Fixtures for tests of every kind, in the platform's and in the engines' environments."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path that every user can traverse (pytest's own are 0700 and long)."""
    with tempfile.TemporaryDirectory(prefix="nagaya-test-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)
