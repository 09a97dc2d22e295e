"""The short form of each long proof (`./run prove NAME --smoke`), on a platform of its own."""

import os
import subprocess
import sys

import pytest

from harness.platform import ROOT
from proofs.__main__ import PROOFS


@pytest.mark.parametrize("name", sorted(PROOFS))
def test_the_smoke_of_each_proof(name: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "proofs", name, "--smoke"],
        cwd=ROOT,
        env=os.environ.copy(),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert result.returncode == 0, result.stdout + result.stderr
