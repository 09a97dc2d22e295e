"""The hash locks of the ZenML versions that can host tenants: which exist, and where their files are."""

from __future__ import annotations

from pathlib import Path

import nagaya
from nagaya.engines.catalog import version_key

PACKAGES = ("nagaya_policy", "nagaya_tenant", "nagaya_stack")
"""What of ours is copied into an engine; packages that this installation does not have are left out."""


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
