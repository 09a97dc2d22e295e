"""The steps of an installation: programs that are run with a clean environment, a time limit, and signs of life."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nagaya.engines.errors import EngineInstallError
from nagaya.engines.locks import Pythons

LOG_LINES = 15
LONGEST_STEP = 1800.0
SIGN_OF_LIFE = 10.0
Progress = Callable[[str], None]
_KEPT = frozenset(
    {"PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_CACHE_HOME"}
    | {"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
)
_KEPT_PREFIXES = ("UV_", "PIP_")


def run(
    command: list[str], name: str, *, holding: int | None = None, text: str = "", progress: Progress = lambda _: None
) -> str:
    """Run one step and return its output.

    Args:
        command: What to run.
        name: What the step is called in errors.
        holding: Descriptor of the lock, which the step holds too: when an installation is killed the next one begins
            only after this step has ended, which would go on writing behind its back.
        text: The phrase for `progress`, which is repeated with the seconds that have passed while the step takes long.
        progress: Called with a phrase.

    Raises:
        EngineInstallError: With the end of its output.
    """
    if text:
        progress(text)
    environment = {key: value for key, value in os.environ.items() if key in _KEPT or key.startswith(_KEPT_PREFIXES)}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command,
            env=environment | {"ZENML_ANALYTICS_OPT_IN": "false"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            umask=0o022,
            process_group=0,
            pass_fds=() if holding is None else (holding,),
        )
        try:
            code = _wait(process, name, text, progress)
        except BaseException:
            _end(process)
            raise
        output.seek(0)
        said = output.read().decode(errors="replace").strip()
    if code != 0:
        raise EngineInstallError(f"{name} failed with code {code}:\n" + "\n".join(said.splitlines()[-LOG_LINES:]))
    return said


def _wait(process: subprocess.Popen[bytes], name: str, text: str, progress: Progress) -> int:
    began = time.monotonic()
    while True:
        try:
            return process.wait(SIGN_OF_LIFE)
        except subprocess.TimeoutExpired:
            seconds = time.monotonic() - began
            if seconds > LONGEST_STEP:
                raise EngineInstallError(f"{name} did not end within {LONGEST_STEP:g} s.") from None
            if text:
                progress(f"{text} ({seconds:.0f} s)")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def uv() -> list[str]:
    """Return the command of the uv that belongs to this environment, else the one on the path.

    Raises:
        EngineInstallError: There is none.
    """
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise EngineInstallError("The program uv is missing; install it into Nagaya's environment (`pip install uv`).")
    return [found]


def interpreter(version: str, pythons: Pythons) -> str:
    """Return a Python for an engine: the platform's own if it fits, else another one of this machine.

    Raises:
        EngineInstallError: There is none.
    """
    if sys.version_info[:2] in pythons:
        return sys.executable
    found = subprocess.run(
        [*uv(), "python", "find", "--no-project", "--no-python-downloads", pythons.specifier],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    path = found.stdout.strip()
    if found.returncode == 0 and path:
        return path
    raise EngineInstallError(
        f"ZenML {version} needs {pythons}, the platform runs on {sys.version_info[0]}.{sys.version_info[1]}, and no "
        f"other Python was found on this machine. Install one, for instance python3.{pythons.newest[1]}, and try again."
    )


def python_version(python: Path) -> str | None:
    """Return the version of an interpreter, or None when it does not start: its base may have been upgraded away."""
    try:
        done = subprocess.run([python, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.fullmatch(r"Python (\S+)", done.stdout.strip())
    return found[1] if done.returncode == 0 and found else None
