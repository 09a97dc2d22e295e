"""Processes, their memory and their processor time as the kernel accounts them."""

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def smaps(pid: int) -> dict[str, int]:
    """Returns `/proc/<pid>/smaps_rollup` in kB, with `Uss` (private) added.

    Args:
        pid: Process id; the caller must own the process or be root.
    """
    values: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        parts = line.split()
        if len(parts) >= 3 and parts[2] == "kB":
            values[parts[0].rstrip(":")] = int(parts[1])
    values["Uss"] = values["Private_Clean"] + values["Private_Dirty"]
    return values


def processor_seconds(pid: int) -> float:
    """Returns the processor time that a process has used in all its threads, also those that have ended (proc(5)).

    Args:
        pid: Process id; one that is gone has used none.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def descendants(pid: int) -> list[int]:
    """Returns the ids of a process and of everything below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except FileNotFoundError:
            continue
        for child in children:
            found += descendants(int(child))
    return found


def is_running(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
