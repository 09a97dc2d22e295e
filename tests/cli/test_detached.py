"""`nagaya up --detach` on a platform that was set up before: it serves first, and what is missing is made then."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nagaya.cli import lifecycle
from nagaya.cli.bootstrap import BootstrapResult, Wanted
from nagaya.cli.errors import CliError
from nagaya.runtime.config import PlatformConfig
from nagaya.supervisor import control


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is done with the platform, in its order."""
    done: list[Any] = []
    monkeypatch.setattr(control, "start", lambda *_args, **_options: done.append("start"))
    monkeypatch.setattr(control, "stop", lambda *_args, **_options: done.append("stop"))
    monkeypatch.setattr(lifecycle, "announce_when_ready", lambda *args, **_options: done.append(args[2]))
    return done


class Said:
    """A command's context of which only the output is used."""

    out = None


def config(place: Path) -> PlatformConfig:
    return PlatformConfig.create(place / "data")


def test_what_is_missing_is_made_once_it_serves(tmp_path: Path, steps: list[Any]) -> None:
    result = BootstrapResult(admin_email="ada@example.com")

    def make() -> BootstrapResult:
        steps.append("make")
        return result

    said: Any = Said()
    lifecycle.start_detached(said, config(tmp_path), make, Wanted())
    assert steps == ["start", "make", result]
    steps.clear()
    lifecycle.start_detached(said, config(tmp_path), result, Wanted())
    assert steps == ["start", result]


def test_a_failure_stops_it_again(tmp_path: Path, steps: list[Any]) -> None:
    def fail() -> BootstrapResult:
        raise CliError("the password is too short")

    said: Any = Said()
    with pytest.raises(CliError, match="too short"):
        lifecycle.start_detached(said, config(tmp_path), fail, Wanted())
    assert steps == ["start", "stop"]
