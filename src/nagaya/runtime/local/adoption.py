"""Finding processes that no record names: by their names, parents, and our run directory in their arguments."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from nagaya.runtime.local.processes import all_pids, command_line, kill_and_wait, parent, process_name, start_time

STANDBY_NAME = "nz-standby"
"""Name of the fork of a zygote that waits for its death (`nagaya_tenant.standby`)."""


def _ours(pid: int, run_dir: Path) -> str | None:
    """Return the module of a tenant-side process below `run_dir`, or None for any other process."""
    arguments = command_line(pid)
    for module, argument in pairwise(arguments[1:]):
        if module in ("nagaya_tenant.zygote", "nagaya_tenant.plain") and Path(argument).is_relative_to(run_dir):
            return module
    return None


def stray_tenants(
    run_dir: Path,
    *,
    name: str | None = None,
    known: frozenset[int] = frozenset(),
    zygotes: frozenset[int] = frozenset(),
) -> set[int]:
    """Return the pids of living tenant processes of this platform, except the `known` ones.

    A tenant's process is a fork of its zygote (same arguments, own name) or started plainly. Just after the fork it
    has no name yet; then its parent, one of the living `zygotes`, tells.
    """
    found = set()
    for pid in all_pids():
        if pid in known or pid in zygotes or start_time(pid) is None:
            continue
        module, own_name = _ours(pid, run_dir), process_name(pid) or ""
        is_tenant = module is not None and (
            module.endswith("plain")
            or own_name.startswith("nt-")
            or (parent(pid) in zygotes and own_name != STANDBY_NAME)
        )
        if is_tenant and name in (None, own_name):
            found.add(pid)
    return found


def stray_zygotes(run_dir: Path, *, known: frozenset[int] = frozenset()) -> set[int]:
    """Return the pids of living zygotes of this platform, and of unnamed forks of dead ones, except the `known`."""
    return {
        pid
        for pid in all_pids()
        if pid not in known
        and _ours(pid, run_dir) == "nagaya_tenant.zygote"
        and not (process_name(pid) or "nt-").startswith("nt-")
        and parent(pid) not in known
        and start_time(pid) is not None
    }


def end_strays(run_dir: Path, grace: float) -> None:
    """End every tenant and zygote of a platform whose keeper is gone; tenants get `grace` seconds (blocking)."""
    kill_and_wait(stray_zygotes(run_dir) | stray_tenants(run_dir), grace)
