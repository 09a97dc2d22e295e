"""Removes an engine that no tenant needs, also none that was deleted and can still be restored."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from nagaya.engines import catalog
from nagaya.engines.errors import EngineRemovalError
from nagaya.engines.install import locked, recover
from nagaya.runtime.files import sync_directory

NAMED_TENANTS = 5


def remove(engines_dir: Path, version: str, users: Callable[[], list[str]]) -> None:
    """Remove an engine. Killed at any point, it is either still whole or gone.

    Args:
        engines_dir: Where engines are.
        version: Which.
        users: Returns the names of the tenants that need it, asked before the engine disappears and once more after,
            so that a tenant which was made meanwhile gets it back.

    Raises:
        EngineRemovalError: It is not installed, is needed, or cannot be removed.
    """
    final, moved = engines_dir / version, engines_dir / f".{version}.removed"
    if version not in catalog.present(engines_dir):
        known = ", ".join(catalog.present(engines_dir)) or "none"
        raise EngineRemovalError(f"The engine {version} is not installed here; installed: {known}.")
    try:
        with locked(engines_dir, version):
            recover(engines_dir, version)
            _require_unused(version, users())
            final.rename(moved)
            sync_directory(engines_dir)
            try:
                _require_unused(version, users())
            except BaseException:
                moved.rename(final)
                raise
            shutil.rmtree(moved, ignore_errors=True)
    except OSError as error:
        raise EngineRemovalError(f"The engine {version} cannot be removed: {error}.") from error


def _require_unused(version: str, names: list[str]) -> None:
    if not names:
        return
    rest = len(names) - NAMED_TENANTS
    shown = ", ".join(names[:NAMED_TENANTS]) + (f" and {rest} more" if rest > 0 else "")
    raise EngineRemovalError(
        f"The engine {version} is in use by {shown}. Tenants keep their engine until they are purged, which is 7 days "
        "after their deletion."
    )
