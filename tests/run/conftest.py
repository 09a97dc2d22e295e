"""A small checkout with the real ./run, a local package index, and a uv that records how it is called."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = [path.stem for path in sorted((ROOT / "engines").glob("[cs]*-*.lock"))]
"""The locks of stock clients, without their suffix."""
RECORDING_UV = """#!/bin/sh
printf '%s\\n' "$*" >> "$UV_RECORD"
if [ -n "$UV_SLOW" ]; then : > "$UV_RECORD.busy"; sleep "$UV_SLOW"; fi
if [ -n "$UV_FAILS" ]; then echo "no network" >&2; exit 2; fi
"""


SYSTEM_UV = """#!/bin/sh
# Installs the recording uv, as the real one would install the pinned uv from an index.
while [ "$1" != --python ]; do shift; done
cp "$RECORDING_UV" "$(dirname "$2")/uv"
"""


class Checkout:
    """A temporary checkout in which ./run needs no network.

    Args:
        root: Its directory.
        home: An empty home directory.
        index: Directory of the package index that holds the recording uv.
    """

    def __init__(self, root: Path, home: Path, index: Path) -> None:
        self.root, self.home, self.index = root, home, index
        self.record = root.parent / "uv-calls"
        self.python = sys.executable
        self.path = f"{root.parent / 'tools'}:/usr/bin:/bin"

    def environment(self, **extra: str) -> dict[str, str]:
        """A short PATH, an empty home, and the local index."""
        return {
            "HOME": str(self.home),
            "PATH": self.path,
            "RECORDING_UV": str(self.root.parent / "recording-uv"),
            "PIP_INDEX_URL": self.index.as_uri(),
            "PIP_CONFIG_FILE": os.devnull,
            "UV_RECORD": str(self.record),
            **extra,
        }

    def command(self, *arguments: str) -> list[str]:
        """The command line of ./run with these arguments."""
        return [self.python, str(self.root / "run"), *arguments]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs ./run to its end."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
        )

    def uv_calls(self) -> list[str]:
        """How uv was called, one line for each call."""
        return self.record.read_text().splitlines() if self.record.exists() else []


def write_script(path: Path, text: str) -> None:
    """Writes an executable file."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def make_index(directory: Path) -> tuple[Path, str]:
    """A package index (PEP 503) with one wheel, the recording uv; returns it and the wheel's hash."""
    project = directory / "uv"
    project.mkdir(parents=True)
    wheel = project / "uv-0.0.1-py3-none-any.whl"
    files = {
        "uv-0.0.1.data/scripts/uv": RECORDING_UV,
        "uv-0.0.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: uv\nVersion: 0.0.1\n",
        "uv-0.0.1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (stat.S_IFREG | 0o755) << 16
            archive.writestr(entry, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(text)}\n"
        archive.writestr("uv-0.0.1.dist-info/RECORD", record + "uv-0.0.1.dist-info/RECORD,,\n")
    (project / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>')
    return directory, hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A fresh checkout in which nothing is installed."""
    index, digest = make_index(tmp_path / "index")
    root, home = tmp_path / "checkout with a space", tmp_path / "home"
    home.mkdir()
    for folder in (
        "locks",
        "engines",
        "src/nagaya/cli",
        "src/nagaya/engines",
        "src/nagaya_tenant",
        "src/nagaya_policy",
    ):
        (root / folder).mkdir(parents=True)
    shutil.copy(ROOT / "run", root / "run")
    (root / "locks/platform.lock").write_text(
        f"alpha==1 \\\n    --hash=sha256:00\nuv==0.0.1 \\\n    --hash=sha256:{digest}\n"
    )
    locks = ["locks/dev.lock", "locks/engine-test.lock", "engines/0.98.0.lock", "engines/0.94.6.lock"]
    for lock in [*locks, *(f"engines/{client}.lock" for client in CLIENTS)]:
        (root / lock).write_text("beta==1\n")
    for package in ("nagaya", "nagaya/cli", "nagaya/engines", "nagaya_tenant", "nagaya_policy"):
        (root / "src" / package / "__init__.py").write_text("")
    report = (
        "import json, os, sys\n"
        "told = {'engines': os.environ['NAGAYA_ENGINES_DIR'], 'index': os.environ.get('UV_DEFAULT_INDEX')}\n"
        "print(json.dumps({'argv': sys.argv[1:]} | told))\n"
    )
    (root / "src/nagaya/cli/main.py").write_text(f"def main():\n    pass\n\n{report}")
    (root / "src/nagaya/engines/__main__.py").write_text(
        "import pathlib, sys\n"
        "engines = pathlib.Path(sys.argv[sys.argv.index('--engines-dir') + 1])\n"
        "names = [path.name for path in engines.iterdir()] if sys.argv[1] == 'renew' else [sys.argv[2]]\n"
        "for home in (engines / name for name in names):\n"
        "    (home / 'nagaya').mkdir(parents=True, exist_ok=True)\n"
        "    with (home / 'nagaya/engine.json').open('a') as file: file.write(f'{sys.argv[1]}\\n')\n"
    )
    write_script(tmp_path / "recording-uv", RECORDING_UV)
    write_script(tmp_path / "tools" / "uv", SYSTEM_UV)
    return Checkout(root, home, index)


@pytest.fixture
def without_uv(checkout: Checkout) -> Checkout:
    """The same on a machine that has no uv."""
    checkout.path = "/usr/bin:/bin"
    return checkout


@pytest.fixture
def python_without_pip(tmp_path: Path) -> Path:
    """A Python that has no pip; with PYTHONPATH set to its `hidden` directory it has no ensurepip either."""
    home = tmp_path / "bare"
    venv.create(home, with_pip=False, symlinks=True)
    (home / "hidden").mkdir()
    (home / "hidden" / "ensurepip.py").write_text("raise ImportError('this Python has no ensurepip')\n")
    return home


def reported(result: subprocess.CompletedProcess[str]) -> dict[str, object]:
    """What the stand-in for the command line printed."""
    answer: dict[str, object] = json.loads(result.stdout)
    return answer
