"""The warden of the suites: exit codes pass through, and no process gets away."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.warden import LEFTOVERS

ROOT = Path(__file__).resolve().parents[2]
DAEMON = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1], "w").write(str(os.getpid()))
        time.sleep(300)
    os._exit(0)
os.wait()
while not os.path.exists(sys.argv[1]) or not open(sys.argv[1]).read():
    time.sleep(0.01)
sys.exit(int(sys.argv[2]))
"""


def warden(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.warden", *command], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize(("code", "seen"), [("0", 0), ("1", 1), ("5", 5), ("os.kill(os.getpid(), 9)", 137)])
def test_the_exit_code_passes_through(code: str, seen: int) -> None:
    assert warden(sys.executable, "-c", f"import os, sys; sys.exit({code})").returncode == seen


@pytest.mark.parametrize(("code", "seen"), [("0", LEFTOVERS), ("2", 2)])
def test_a_daemon_is_named_and_ended(tmp_path: Path, code: str, seen: int) -> None:
    file = tmp_path / "pid"
    done = warden(sys.executable, "-c", DAEMON, str(file), code)
    pid = int(file.read_text())
    assert done.returncode == seen
    assert f"left behind: process {pid}: " in done.stdout
    assert not Path(f"/proc/{pid}").exists()


def test_what_ends_by_itself_a_moment_later_is_no_leftover(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    begun = time.monotonic()
    done = warden(sys.executable, "-c", DAEMON.replace("300", "0.3"), str(file), "0")
    assert done.returncode == 0, done.stdout
    assert time.monotonic() - begun < 30
    assert not Path(f"/proc/{file.read_text()}").exists()
