"""The ZenML versions that can host tenants: their hash locks, and which Pythons each runs on."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import nagaya
from nagaya.engines.catalog import version_key

PACKAGES = ("nagaya_policy", "nagaya_tenant", "nagaya_stack")
"""What of ours is copied into an engine; packages that this installation does not have are left out."""
_PYTHONS = re.compile(r"^# Python: (\d+)\.(\d+) to (\d+)\.(\d+)$", re.MULTILINE)
ANY_PYTHON = ((3, 11), (3, 14))
"""What the platform itself runs on."""


@dataclass(frozen=True)
class Pythons:
    """A range of Python's minor versions, both ends included."""

    oldest: tuple[int, int]
    newest: tuple[int, int]

    def __contains__(self, version: tuple[int, ...]) -> bool:
        return self.oldest <= version[:2] <= self.newest

    def __str__(self) -> str:
        return f"Python {'.'.join(map(str, self.oldest))} to {'.'.join(map(str, self.newest))}"

    @property
    def specifier(self) -> str:
        """The range as installers understand it."""
        return f">={self.oldest[0]}.{self.oldest[1]},<{self.newest[0]}.{self.newest[1] + 1}"


def source_root() -> Path:
    """Return the directory that holds our packages (a source tree's `src`, or site-packages)."""
    return Path(nagaya.__file__).resolve().parent.parent


def lock_directory() -> Path:
    """Return the directory of the locks: inside the wheel, or `engines/` of a source tree."""
    packaged = Path(nagaya.__file__).resolve().parent / "engine_locks"
    return packaged if packaged.is_dir() else source_root().parent / "engines"


def available() -> list[str]:
    """Return the versions that can be installed, oldest first."""
    names = (path.name.removesuffix(".lock") for path in lock_directory().glob("[0-9]*.lock"))
    return sorted(names, key=version_key)


def pythons(version: str) -> Pythons:
    """Return the Pythons that a version runs on, as the comment in its `.in` file says (from ZenML's metadata)."""
    path = lock_directory() / f"{version}.in"
    found = _PYTHONS.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    if found is None:
        return Pythons(*ANY_PYTHON)
    numbers = [int(number) for number in found.groups()]
    return Pythons((numbers[0], numbers[1]), (numbers[2], numbers[3]))
