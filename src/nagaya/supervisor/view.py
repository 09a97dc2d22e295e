"""A private mount namespace in which the unprivileged users can reach what lies below directories closed to them."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import nagaya
from nagaya.engines import catalog
from nagaya.runtime.config import PlatformConfig
from nagaya.supervisor.errors import SetupError

CLONE_NEWNS = 0x00020000  # unshare(2)
MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18  # mount(2)
DEEPEST_NESTING = 16
ENTERED = "NAGAYA_VIEW"

_libc = ctypes.CDLL(None, use_errno=True)


def needed_paths(config: PlatformConfig) -> list[Path]:
    """Return the directories that the api, the gateway and the tenants must be able to traverse."""
    source = Path(nagaya.__file__).parent.parent
    paths = [Path(sys.base_prefix), Path(sys.prefix), source, config.engines_dir, config.data_dir, config.run_dir]
    # An engine's interpreter may live elsewhere than ours; its prefix is two levels above the real file.
    paths += [engine.python.resolve().parent.parent for engine in catalog.installed(config.engines_dir)]
    if config.master_key_file is not None:
        paths.append(config.master_key_file.parent)
    return list(dict.fromkeys(path for path in paths if path.exists()))


def closed_ancestor(path: Path) -> Path | None:
    """Return the outermost directory above `path` that others may not traverse, or None."""
    for ancestor in reversed(path.parents):
        if not ancestor.stat().st_mode & 0o001:
            return ancestor
    return None


def enter(config: PlatformConfig) -> bool:
    """Open the way to every needed path in a mount namespace of our own; False when that was not needed.

    Raises SetupError when it is needed and not permitted.
    """
    if os.geteuid() != 0 or config.service_uid is None or os.environ.get(ENTERED):
        return False
    paths = needed_paths(config)
    closed = [path for path in paths if closed_ancestor(path) is not None]
    if not closed:
        return False
    _unshare(closed[0])
    for _ in range(DEEPEST_NESTING):
        groups: dict[Path, list[Path]] = {}
        for path in paths:
            ancestor = closed_ancestor(path)
            if ancestor is not None:
                groups.setdefault(ancestor, []).append(path)
        if not groups:
            os.environ[ENTERED] = "1"
            return True
        for ancestor, inside in groups.items():
            _cover(ancestor, inside)
    raise SetupError(f"The directories above {paths[0]} are nested too deeply; open them with chmod o+x.")


def _unshare(example: Path) -> None:
    if _libc.unshare(CLONE_NEWNS) != 0:
        closed = closed_ancestor(example)
        raise SetupError(
            f"{closed} is closed to other users but contains {example}, and this system does not permit a private view "
            f"of it; run `chmod o+x {closed}`, move the installation, or start as an ordinary user."
        )
    _mount("none", "/", None, MS_REC | MS_PRIVATE, None)


def _cover(closed: Path, paths: list[Path]) -> None:
    """Put an empty directory of mode 0711 over `closed` and bind only `paths` into it."""
    # Opened before the cover hides them; outer paths first, and an inner one only if no outer one shows it.
    wanted: list[Path] = []
    for path in sorted(paths, key=lambda item: len(item.parts)):
        if not any(path.is_relative_to(outer) for outer in wanted):
            wanted.append(path)
    opened = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in wanted]
    try:
        _mount("tmpfs", str(closed), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0711,size=1m")
        for path, descriptor in opened:
            missing = [item for item in [path, *path.parents] if not item.exists()]
            for directory in reversed(missing):
                directory.mkdir(mode=0o711)
                directory.chmod(0o711)
            _mount(f"/proc/self/fd/{descriptor}", str(path), None, MS_BIND | MS_REC, None)
    finally:
        for _, descriptor in opened:
            os.close(descriptor)


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None) -> None:
    encoded = [None if item is None else os.fsencode(item) for item in (source, target, kind, options)]
    if _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]) != 0:
        number = ctypes.get_errno()
        raise SetupError(f"Cannot build a private view of {target} ({os.strerror(number)}); run `chmod o+x` on it.")
