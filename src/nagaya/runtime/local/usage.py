"""Memory and processor time of a process, as the kernel tells everybody (proc(5))."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """`memory`: resident bytes, shared pages included; `seconds`: processor time since its start."""

    memory: int
    seconds: float


def usage_of(pid: int) -> Usage | None:
    """Return what a process uses, or None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    # Fields 14, 15 and 24 of the file; the first two are before the closing bracket.
    return Usage(int(fields[21]) * _PAGE, (int(fields[11]) + int(fields[12])) / _TICKS)
