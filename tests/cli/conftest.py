"""Runs the command line in this process, against platforms of its own, with an empty home."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nagaya.cli import main
from nagaya.cli.credentials import Credential, Credentials
from tests.cli.platform import TOKEN, MemoryPlatform, serving


@dataclass
class Result:
    """What one call of the command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)


Nagaya = Callable[..., Result]


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without credentials, and an environment without settings."""
    for name in [name for name in os.environ if name.startswith(("NAGAYA_", "XDG_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("NAGAYA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TZ", "UTC")
    return home


@pytest.fixture
def nagaya(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Nagaya:
    """Calls the command line: `nagaya("tenant", "list", input="…")`."""

    def call(*arguments: str, input: str = "") -> Result:  # noqa: A002  (as in subprocess.run)
        monkeypatch.setattr(sys, "argv", ["nagaya", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(input))
        capfd.readouterr()
        code = main.main()
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    return call


@pytest.fixture
def serve() -> Iterator[Callable[[MemoryPlatform], MemoryPlatform]]:
    """Serves a platform until the end of the test."""
    with ExitStack() as stack:
        yield lambda platform: stack.enter_context(serving(platform))


@pytest.fixture
def platform(serve: Callable[[MemoryPlatform], MemoryPlatform]) -> MemoryPlatform:
    """A platform that works, with somebody signed in to it."""
    served = serve(MemoryPlatform())
    Credentials.load().put(served.url, Credential(token=TOKEN))
    return served
