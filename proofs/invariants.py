"""What must hold on a platform at rest, whatever was killed before."""

import sqlite3
import time
from pathlib import Path

from harness.platform import Platform
from harness.processes import is_running

MOVING = {"starting", "stopping"}


def violations(platform: Platform, token: str) -> list[str]:
    """Returns what does not hold at this moment, in sentences.

    Args:
        platform: The platform.
        token: Token of its administrator.
    """
    found: list[str] = []
    caller = platform.api(token)
    rows = {tenant["id"]: tenant for tenant in caller.expect("GET", "/tenants?limit=1000").json()}
    caller.close()
    states = {state["id"]: state for state in platform.keeper("list")}
    found += [f"tenant {row['name']} is {row['status']}" for row in rows.values() if row["status"] != "available"]
    found += [f"tenant {row['name']} is unknown to the keeper" for row in rows.values() if row["id"] not in states]
    for state in states.values():
        if state["state"] in MOVING | {"failed"}:
            found.append(f"tenant {state['tenant']} is {state['state']}: {state['reason']}")
        if state["pid"] and not is_running(state["pid"]):
            found.append(f"process {state['pid']} of {state['tenant']} is recorded and gone")
    found += orphans(platform, {state["pid"] for state in states.values() if state["pid"]})
    found += leftovers(platform, set(states))
    return found


def orphans(platform: Platform, recorded: set[int]) -> list[str]:
    """Returns tenant processes of this platform that the keeper does not know."""
    found = []
    marker = str(platform.data_dir / "tenants")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) in recorded:
            continue
        try:
            if str((entry / "cwd").readlink()).startswith(marker):
                found.append(f"process {entry.name} lives in a tenant's directory and is not recorded")
        except OSError:
            continue
    return found


def leftovers(platform: Platform, known: set[str]) -> list[str]:
    """Returns directories and half-made databases that belong to no tenant."""
    found = []
    for directory in (platform.data_dir / "tenants").iterdir():
        if directory.name not in known:
            found.append(f"directory {directory.name} belongs to no tenant")
            continue
        found += [f"half-made file {path.name}" for path in directory.glob("zenml.db.*") if "-" not in path.suffix]
        database = directory / "zenml.db"
        if database.exists():
            with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
                result = connection.execute("PRAGMA integrity_check").fetchone()[0]
            if result != "ok":
                found.append(f"database of {directory.name}: {result}")
    return found


def heal_time(platform: Platform, token: str, deadline: float = 30) -> float:
    """Waits until nothing is violated; returns the seconds that it took.

    Args:
        platform: The platform.
        token: Token of its administrator.
        deadline: Seconds after which the violations are raised.
    """
    started = time.monotonic()
    problems: list[str] = ["never looked"]
    while time.monotonic() - started < deadline:
        try:
            problems = violations(platform, token)
        except (OSError, RuntimeError, ValueError) as error:
            problems = [f"not answering: {error}"]
        if not problems:
            return time.monotonic() - started
        time.sleep(0.2)
    raise AssertionError(f"not healed after {deadline} s: {problems}")
