"""Finding processes that no record names: by the name a tenant's process gives itself and our run directory in its arguments."""

from __future__ import annotations

from pathlib import Path

from nagaya.runtime.local.processes import ProcessIdentity, all_pids, command_line, process_name


def _ours(pid: int, run_dir: Path) -> str | None:
    """Return the module of a tenant-side process below `run_dir`, or None for any other process."""
    arguments = command_line(pid)
    for module, argument in zip(arguments[1:], arguments[2:], strict=False):
        if module in ("nagaya_tenant.zygote", "nagaya_tenant.plain") and Path(argument).is_relative_to(run_dir):
            return module
    return None


def stray_tenants(run_dir: Path, *, name: str | None = None, known: frozenset[int] = frozenset()) -> set[int]:
    """Return the pids of living tenant processes of this platform, except the `known` ones.

    A tenant's process is a fork of its zygote (same arguments, own name) or started plainly.
    """
    found = set()
    for pid in all_pids():
        own_name = process_name(pid)
        if own_name is None or pid in known or ProcessIdentity.of(pid) is None:
            continue
        module = _ours(pid, run_dir)
        is_tenant = module == "nagaya_tenant.plain" or (module is not None and own_name.startswith("nt-"))
        if is_tenant and name in (None, own_name):
            found.add(pid)
    return found


def stray_zygotes(run_dir: Path, *, known: frozenset[int] = frozenset()) -> set[int]:
    """Return the pids of living zygotes of this platform, except the `known` ones."""
    return {
        pid
        for pid in all_pids()
        if pid not in known
        and _ours(pid, run_dir) == "nagaya_tenant.zygote"
        and not (process_name(pid) or "nt-").startswith("nt-")
        and ProcessIdentity.of(pid) is not None
    }
