"""Fixtures of the engines' tests: a source tree whose one engine can be installed, and a place for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nagaya.engines import locks
from tests.engines.source import Source


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
    """A source tree whose one engine can be installed without a network."""
    made = Source(tmp_path)
    made.publish()
    made.release()
    monkeypatch.setattr(locks, "source_root", lambda: made.packages)
    monkeypatch.setattr(locks, "lock_directory", lambda: tmp_path / "locks")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return made


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """Where engines are installed."""
    return tmp_path / "engines"
