"""Fixtures of the supervisor's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.supervisor.support import Platform, running_platform


@pytest.fixture
def platform(place: Path) -> Iterator[Platform]:
    """A running platform with the stand-in engine."""
    with running_platform(place) as process:
        yield process
