"""Processes and their memory as the kernel accounts them."""

from pathlib import Path


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
