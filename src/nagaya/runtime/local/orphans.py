"""What tenants started and nobody watches any more; and other platforms on this host, which are left alone."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from nagaya.runtime.config import ConfigError, PlatformConfig
from nagaya.runtime.local.processes import all_pids, command_line, kill_and_wait, parent, start_time, user_of

SERVICES = ("nagaya.supervisor.main", "nagaya.runtime.local.keeper")
TENANT_SIDE = ("nagaya_tenant.zygote", "nagaya_tenant.plain")


def other_platforms(run_dir: Path) -> dict[int, PlatformConfig]:
    """Return supervisors and keepers of other data directories, by pid, with their configuration."""
    found = {}
    for pid in all_pids():
        path = _argument(pid, SERVICES)
        if path is not None and path.parent != run_dir and start_time(pid) is not None:
            with suppress(ConfigError, OSError):
                found[pid] = PlatformConfig.load(path)
    return found


def end_orphans(run_dir: Path, ours: Callable[[int], bool], living: set[int | None], rounds: int = 20) -> int:
    """Kill (blocking) what runs as a user that this platform gave to a tenant which does not run; return how many.

    While there is no keeper, what a tenant leaves behind goes to the supervisor or to init, and only its user id tells
    whose it is. Another platform may have given out the same numbers: what stands below its processes is spared.

    Args:
        run_dir: Our run directory.
        ours: Whether a user id was ever given to a tenant here.
        living: User ids of the tenants that run.
        rounds: How often to look again for what is forked meanwhile.
    """
    ended = 0
    for _ in range(rounds):
        pids = {pid for pid in all_pids() if _is_orphan(pid, run_dir, ours, living)}
        if not pids:
            break
        kill_and_wait(pids)
        ended += len(pids)
    return ended


def _is_orphan(pid: int, run_dir: Path, ours: Callable[[int], bool], living: set[int | None]) -> bool:
    user = user_of(pid)
    if user is None or user in living or not ours(user) or start_time(pid) is None:
        return False
    return not _adoptable_elsewhere(pid, run_dir) and not _below_another_platform(pid, run_dir)


def _below_another_platform(pid: int, run_dir: Path) -> bool:
    """Tell whether an ancestor is a process of another platform; only root's count, for tenants can call themselves so.

    Arguments are free to choose, users are not.
    """
    above: int | None = pid
    while above:
        path = _argument(above, SERVICES + TENANT_SIDE)
        if path is not None and not path.is_relative_to(run_dir) and user_of(above) == 0:
            return True
        above = parent(above)
    return False


def _adoptable_elsewhere(pid: int, run_dir: Path) -> bool:
    """Tell whether it is a tenant's main process of another platform whose own keeper may be restarting."""
    path = _argument(pid, TENANT_SIDE)
    if path is None or path.is_relative_to(run_dir):
        return False
    for directory in (path.parent, path.parent.parent):
        with suppress(ConfigError, OSError):
            file = directory / "config.json"
            if file.lstat().st_uid == 0 and PlatformConfig.load(file).run_dir == directory:
                return True
    return False


def _argument(pid: int, modules: tuple[str, ...]) -> Path | None:
    """Return the argument after one of the `modules` on the command line of a process, if it has one."""
    for module, argument in pairwise(command_line(pid)[1:]):
        if module in modules:
            return Path(argument)
    return None
