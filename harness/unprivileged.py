"""Runs a scenario in a process of its own, for tests that give up root on the way."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PYTHON_PATH = os.pathsep.join((str(ROOT / "src"), str(ROOT)))


def run_scenario(code: str, *arguments: str, seconds: float, home: Path) -> None:
    """Runs Python code that ends by printing "all is well"; skips the test where the host does not permit it.

    Args:
        code: The scenario.
        arguments: Its `sys.argv[1:]`.
        seconds: After which it is ended.
        home: Its home directory.
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": PYTHON_PATH, "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(home)},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if "does not permit" in done.stderr:
        pytest.skip("no mount namespaces here, and Python lies below a closed directory")
    assert done.stdout.endswith("all is well\n"), done.stdout + done.stderr
