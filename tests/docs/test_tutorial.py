"""The tutorial, block by block, as a reader would run it, against a real platform with the stock client."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial" / "first-tenant.md"
CLIENT = ROOT / ".clients" / "0.98.0"
ENGINE = ROOT / ".engines" / "0.98.0" / "nagaya" / "engine.json"
BLOCK_TIMEOUT = 240


def blocks() -> list[str]:
    """The shell blocks of the tutorial, without those that the tests replace."""
    return re.findall(r"^```shell\n(.*?)^```", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@dataclass
class Reader:
    """Somebody with a shell, whose variables stay from block to block."""

    directory: Path
    environment: dict[str, str]
    port: int

    def run(self, block: str) -> str:
        """Runs one block; fails with everything that it printed."""
        state = self.directory / "environment"
        script = block.replace("8440", str(self.port)) + f"\nexport -p > {shlex.quote(str(state))}\n"
        if state.exists():
            script = f". {shlex.quote(str(state))}\n{script}"
        with tempfile.TemporaryFile("w+") as output:
            # A file and no pipe: a detached platform would keep a pipe open for ever.
            process = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=BLOCK_TIMEOUT,
            )
            output.seek(0)
            text = output.read()
        assert process.returncode == 0, f"{block}\n--- printed:\n{text}"
        return text


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A directory with ./run and the client in it, an empty home, and a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    directory = tmp_path / "reader"
    home = directory / "home"
    home.mkdir(parents=True)
    (directory / "run").symlink_to(ROOT / "run")
    (directory / "client").symlink_to(CLIENT)
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "NAGAYA_PORT": str(port),
        "ZENML_CONFIG_PATH": str(home / "zenml"),
        "ZENML_ANALYTICS_OPT_IN": "false",
        "AUTO_OPEN_DASHBOARD": "false",
    }
    someone = Reader(directory, environment, port)
    yield someone
    someone.run(f"NAGAYA_DATA_DIR={shlex.quote(str(directory / 'data'))} ./run down || true")


@pytest.mark.e2e
@pytest.mark.timeout(900)
@pytest.mark.skipif(not CLIENT.exists() or not ENGINE.exists(), reason="engine or stock client is not installed")
def test_the_tutorial_works(reader: Reader) -> None:
    printed = [reader.run(block) for block in blocks()]
    text = "\n".join(printed)
    assert f"Nagaya serves at http://127.0.0.1:{reader.port}" in text
    assert "Signed in to" in text
    assert "acme/production is available" in text
    before, after = printed[-3], printed[-2]
    assert "1 items found" in before, "the run is not listed in its own tenant"
    assert "1 items found" not in after, "the run is listed in another tenant"
    assert "Nagaya has stopped." in printed[-1]


def test_the_tutorial_has_blocks() -> None:
    text = TUTORIAL.read_text(encoding="utf-8")
    assert len(blocks()) >= 9
    skipped = re.findall(r"^```shell (.+)$", text, re.MULTILINE)
    assert skipped == ["install-client"], "a block of the tutorial is not tested"
