"""Fixtures of the runtime's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.support import KeeperProcess, running_keeper


@pytest.fixture
def keeper(place: Path) -> Iterator[KeeperProcess]:
    """A running keeper with the stand-in engine."""
    with running_keeper(place, failure_limit=5) as process:
        yield process
