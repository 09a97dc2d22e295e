"""Installs an engine beside its place and then puts it there: an engine is whole, or it is not there.

Made below `.<version>.new`: an environment from the hash lock, our packages, the template, and last `engine.json`. Two
renames then exchange it for what was there before; an installation that was killed is begun anew by the next one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nagaya
from nagaya.engines import catalog, health, locks, steps
from nagaya.engines.catalog import Engine
from nagaya.engines.errors import EngineInstallError
from nagaya.engines.health import fingerprint
from nagaya.engines.steps import Progress
from nagaya.runtime.files import sync_directory, write_json

__all__ = ["EngineInstallError", "ensure", "locked", "renew"]


def ensure(engines_dir: Path, version: str, *, repair: bool = False, progress: Progress = lambda _: None) -> Engine:
    """Install the engine `version` unless it is complete and current; renew only our packages when those changed.

    Of several callers one works and the others wait. Killed at any point, the next call starts over: what is half-made
    has another name. An engine whose files are plainly damaged is made anew; with `repair` all its files are checked.
    `progress` is called with a phrase per step, and again while a step takes long.
    Raises EngineInstallError.
    """
    if version not in locks.available():
        known = ", ".join(locks.available()) or "none"
        raise EngineInstallError(f"There is no engine {version}; this version of Nagaya knows {known}.")
    try:
        engines_dir.mkdir(parents=True, exist_ok=True)
        engines_dir.chmod(0o755)
        with locked(engines_dir, version, progress) as holding:
            recover(engines_dir, version)
            return _Installation(engines_dir, version, holding, progress).ensure(repair=repair)
    except OSError as error:
        raise EngineInstallError(f"The engine {version} cannot be installed: {error}.") from error


def renew(engines_dir: Path, *, progress: Progress = lambda _: None) -> None:
    """Bring our packages in every installed engine up to date, as after an upgrade of the platform.

    Raises EngineInstallError.
    """
    known = locks.available()
    for engine in catalog.installed(engines_dir):
        if engine.version in known:
            ensure(engines_dir, engine.version, progress=progress)


def recover(engines_dir: Path, version: str) -> None:
    """Put back what a killed exchange had moved away, and remove what is half-made; the lock is held."""
    final, old = engines_dir / version, engines_dir / f".{version}.old"
    if old.is_dir() and not final.exists():
        old.rename(final)
    for leftover in (old, engines_dir / f".{version}.new", engines_dir / f".{version}.removed"):
        shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def locked(engines_dir: Path, version: str, progress: Progress = lambda _: None) -> Iterator[int]:
    """Let one process at a time change an engine; gives the lock's descriptor.

    The kernel drops the lock when the last process that holds the descriptor has ended.
    """
    descriptor = os.open(engines_dir / f".{version}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another installation")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


class _Installation:
    """One installation, while the lock is held."""

    def __init__(self, engines_dir: Path, version: str, holding: int, progress: Progress) -> None:
        self._engines_dir, self._version = engines_dir, version
        self._final, self._making = engines_dir / version, engines_dir / f".{version}.new"
        self._holding, self._progress = holding, progress

    def ensure(self, *, repair: bool) -> Engine:
        """Do what is needed, and return the engine."""
        began = time.monotonic()
        wanted = fingerprint(locks.source_root())
        engine = catalog.find(self._engines_dir, self._version)
        problem = health.inspect(self._engines_dir, self._version)
        kept = engine is not None and self._environment_serves(engine, thorough=repair or problem is not None)
        if engine is not None and kept and problem is None and engine.fingerprint == wanted:
            if repair:
                self._progress("nothing is damaged")
            return engine
        shutil.rmtree(self._making, ignore_errors=True)
        if kept:
            # The copy shares its files with the engine in use; whatever is renewed in it gets files of its own.
            shutil.copytree(self._final, self._making, symlinks=True, copy_function=os.link)
        else:
            self._make_environment()
        self._finish(wanted)
        _exchange(self._making, self._final)
        self._progress(f"the engine is ready after {time.monotonic() - began:.1f} s")
        engine = catalog.find(self._engines_dir, self._version)
        assert engine is not None
        return engine

    def _environment_serves(self, engine: Engine, *, thorough: bool) -> bool:
        """Tell whether an engine's environment can be kept: its interpreter starts, its packages are there."""
        site = catalog.site_packages(engine.directory)
        if site is None or any(not (site / name).is_dir() for name in engine.distributions):
            return False
        if steps.python_version(engine.python) is None:
            return False
        if not thorough:
            return True
        self._progress("checking every file")
        problem = health.verify(engine)
        if problem is not None:
            self._progress(f"damaged: {problem}")
        return problem is None

    def _step(self, command: list[str], name: str, text: str = "") -> None:
        steps.run(command, name, holding=self._holding, text=text, progress=self._progress)

    def _make_environment(self) -> None:
        uv = steps.uv()
        interpreter = steps.interpreter(self._version, locks.pythons(self._version))
        venv = [*uv, "venv", "--quiet", "--relocatable", "--python", interpreter, str(self._making)]
        self._step(venv, "uv venv", "making the environment")
        lock = locks.lock_directory() / f"{self._version}.lock"
        install = [*uv, "pip", "install", "--quiet", "--python", str(self._making / "bin" / "python")]
        options = ["--require-hashes", "--compile-bytecode", "--requirements", str(lock)]
        self._step([*install, *options], "uv pip install", "installing ZenML from its lock")

    def _finish(self, wanted: str) -> None:
        """Add what is ours, and last the record."""
        python, own = self._making / "bin" / "python", self._making / "nagaya"
        own.mkdir(exist_ok=True)
        (own / "engine.json").unlink(missing_ok=True)
        site = catalog.site_packages(self._making)
        if site is None:
            raise EngineInstallError(f"The environment in {self._making} has no packages.")
        self._progress("copying Nagaya's own packages")
        self._copy_packages(python, site)
        template = own / "template.db"
        command = [str(python), "-m", "nagaya_tenant.template", str(template)]
        self._step(command, "nagaya_tenant.template", "building the template database")
        template.chmod(0o644)
        command = [str(python), "-m", "nagaya_tenant.openapi_document", str(own / "openapi.json")]
        self._step(command, "nagaya_tenant.openapi_document", "describing its API")
        record = {
            "version": self._version,
            "python": steps.python_version(python) or "",
            "zenml": self._version,
            "nagaya": nagaya.__version__,
            "fingerprint": wanted,
            "distributions": sorted(path.name for path in site.glob("*.dist-info")),
        }
        # All that was written above must be on disk before anything says that it is complete.
        os.sync()
        write_json(own / "engine.json", record, mode=0o644)

    def _copy_packages(self, python: Path, site: Path) -> None:
        source = locks.source_root()
        for package in locks.PACKAGES:
            shutil.rmtree(site / package, ignore_errors=True)
            if (source / package).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
                shutil.copytree(source / package, site / package, ignore=ignored)
                self._step([str(python), "-m", "compileall", "-q", str(site / package)], "compileall")


def _exchange(made: Path, final: Path) -> None:
    """Put what was made in its place; between the two renames the engine is missing, never half there."""
    old = final.with_name(f".{final.name}.old")
    if final.exists():
        final.rename(old)
    made.rename(final)
    sync_directory(final.parent)
    shutil.rmtree(old, ignore_errors=True)
