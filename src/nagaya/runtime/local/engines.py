"""Which engines this host has at the moment, and what is wrong with them: looked at again when their files change."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from pathlib import Path

from nagaya.engines import catalog, errors, health

Signature = tuple[tuple[int, int, int] | None, ...]
THOROUGH_SECONDS = 60.0
"""A look at every file costs a second; after so long it is worth another one."""


class Engines:
    """The engines' directory as the keeper last saw it.

    `problems` has a sentence for each engine that is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: dict[str, Signature] = {}
        self._verified: dict[str, float] = {}
        self.problems: dict[str, str] = {}

    async def look(self) -> list[str]:
        """Return the versions that appeared, disappeared or changed since the last look, and examine these."""
        found = {version: self._signature(version) for version in catalog.present(self._directory)}
        changed = [version for version in {**self._seen, **found} if self._seen.get(version) != found.get(version)]
        self._seen = found
        for version in changed:
            self.problems.pop(version, None)
            self._verified.pop(version, None)
            if version in found:
                await self._examine(version, thorough=False)
        return changed

    async def diagnose(self, version: str) -> str | None:
        """Return why an engine with which a start failed cannot be used, as a sentence; None if it is not to blame."""
        missing = self.missing(version)
        if missing is not None:
            return missing
        if version not in self.problems and time.monotonic() - self._verified.get(version, -THOROUGH_SECONDS) >= (
            THOROUGH_SECONDS
        ):
            await self._examine(version, thorough=True)
            self._verified[version] = time.monotonic()
        return self.problems.get(version)

    def missing(self, version: str) -> str | None:
        """Return the sentence for an engine that is not there, or not completely."""
        if catalog.find(self._directory, version) is not None:
            return None
        if (self._directory / version).is_dir():
            return self.problems.get(version) or health.examine_one(self._directory, version).problem
        return errors.not_installed(version)

    def proved(self, version: str) -> None:
        """Note that an engine works, whatever was thought of it."""
        self.problems.pop(version, None)

    async def _examine(self, version: str, *, thorough: bool) -> None:
        found = await asyncio.to_thread(health.examine_one, self._directory, version, thorough=thorough)
        if found.problem is not None:
            self.problems[version] = found.problem

    def _signature(self, version: str) -> Signature:
        home = self._directory / version
        site = catalog.site_packages(home)
        paths: Iterable[Path] = (home / "nagaya" / "engine.json", home / "nagaya" / "template.db")
        if site is not None:
            paths = (*paths, home / "bin" / "python", site, site / "zenml", site / "nagaya_tenant")
        # Of the directory itself only the inode: which files come and go beside ours means nothing.
        return (_inode(home), *(_identity(path) for path in paths))


def _inode(path: Path) -> tuple[int, int, int] | None:
    found = _identity(path)
    return None if found is None else (found[0], 0, 0)


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
