"""Installs an engine: an environment from its hash lock, our packages, the template, and last `engine.json`."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nagaya
from nagaya.engines import catalog, locks
from nagaya.engines.catalog import Engine
from nagaya.runtime.files import sync_directory, write_json

LOG_LINES = 15
TEMPLATE_SECONDS = 600
Progress = Callable[[str], None]


class EngineInstallError(Exception):
    """An engine could not be installed; the message says which step failed and why."""


def fingerprint(root: Path) -> str:
    """Return a digest of our packages that travel into engines: every Python file's path and content."""
    digest = hashlib.sha256()
    for package in locks.PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def ensure(engines_dir: Path, version: str, *, progress: Progress = lambda _: None) -> Engine:
    """Install the engine `version` unless it is complete and current; renew only our packages when those changed.

    Of several callers one works and the others wait. Killed at any point, the next call starts over: an engine
    counts only once `engine.json` is there. `progress` is called with a phrase per step.
    Raises EngineInstallError.
    """
    lock = locks.lock_directory() / f"{version}.lock"
    if not lock.is_file():
        known = ", ".join(locks.available()) or "none"
        raise EngineInstallError(f"There is no engine {version}; this version of Nagaya knows {known}.")
    wanted = fingerprint(locks.source_root())
    try:
        engines_dir.mkdir(parents=True, exist_ok=True)
        engines_dir.chmod(0o755)
        with _locked(engines_dir / f".{version}.lock", progress):
            return _ensure(engines_dir / version, version, lock, wanted, progress)
    except OSError as error:
        raise EngineInstallError(f"The engine {version} cannot be installed: {error}.") from error


def _ensure(directory: Path, version: str, lock: Path, wanted: str, progress: Progress) -> Engine:
    began = time.monotonic()
    engine = catalog.find(directory.parent, version)
    if engine is not None and engine.fingerprint == wanted:
        return engine
    if engine is None or not _interpreter_works(engine.python):
        _make_environment(directory, lock, progress)
    progress("copying Nagaya's own packages")
    _copy_packages(directory)
    _make_template(directory, progress)
    record = {
        "version": version,
        "python": platform.python_version(),
        "zenml": version,
        "nagaya": nagaya.__version__,
        "fingerprint": wanted,
    }
    write_json(directory / "nagaya" / "engine.json", record, mode=0o644)
    progress(f"engine {version} is ready after {time.monotonic() - began:.1f} s")
    engine = catalog.find(directory.parent, version)
    assert engine is not None
    return engine


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another installation")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _interpreter_works(python: Path) -> bool:
    """Tell whether an environment survived: its base interpreter may have been upgraded away."""
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, timeout=60, check=False).returncode == 0
    except OSError:
        return False


def _make_environment(directory: Path, lock: Path, progress: Progress) -> None:
    progress("making the environment")
    shutil.rmtree(directory, ignore_errors=True)
    uv = _uv()
    _step([*uv, "venv", "--quiet", "--python", sys.executable, str(directory)], "uv venv")
    progress("installing ZenML from its lock")
    python = str(directory / "bin" / "python")
    install = [*uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "--compile-bytecode"]
    _step([*install, "--requirements", str(lock)], "uv pip install")


def _uv() -> list[str]:
    """Return the command of the uv that belongs to this environment, else the one on the path."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise EngineInstallError("The program uv is missing; install it into Nagaya's environment (`pip install uv`).")
    return [found]


def _site_packages(directory: Path) -> Path:
    return directory / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def _copy_packages(directory: Path) -> None:
    """Replace our packages one by one, each by a rename: a zygote may start at any moment."""
    (directory / "nagaya").mkdir(exist_ok=True)
    target, source = _site_packages(directory), locks.source_root()
    for package in locks.PACKAGES:
        fresh, old = target / f".{package}.new" / package, target / f".{package}.old"
        for leftover in (fresh.parent, old):
            shutil.rmtree(leftover, ignore_errors=True)
        if (source / package).is_dir():
            shutil.copytree(source / package, fresh, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            compiled = [
                str(directory / "bin" / "python"),
                "-m",
                "compileall",
                "-q",
                "-s",
                str(fresh.parent),
                str(fresh),
            ]
            _step(compiled, "compileall")
        if (target / package).exists():
            (target / package).rename(old)
        if fresh.exists():
            fresh.rename(target / package)
        shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(fresh.parent, ignore_errors=True)
    sync_directory(target)


def _make_template(directory: Path, progress: Progress) -> None:
    progress("building the template database")
    out = directory / "nagaya" / "template.db"
    _step([str(directory / "bin" / "python"), "-m", "nagaya_tenant.template", str(out)], "nagaya_tenant.template")
    out.chmod(0o644)


def _step(command: list[str], name: str) -> None:
    """Run one step. Raises EngineInstallError with the end of its output."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_CACHE_HOME")
    proxies = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
    prefixes = ("UV_", "PIP_")
    environment = {key: value for key, value in os.environ.items() if key in kept + proxies or key.startswith(prefixes)}
    try:
        done = subprocess.run(
            command,
            env=environment | {"ZENML_ANALYTICS_OPT_IN": "false"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TEMPLATE_SECONDS * 3,
            check=False,
            umask=0o022,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineInstallError(f"{name} did not end within {TEMPLATE_SECONDS * 3} s.") from error
    if done.returncode != 0:
        lines = done.stdout.decode(errors="replace").strip().splitlines()[-LOG_LINES:]
        raise EngineInstallError(f"{name} failed with code {done.returncode}:\n" + "\n".join(lines))
