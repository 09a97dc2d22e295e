"""What one check of `nagaya doctor` says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

State = Literal["ok", "notice", "warning", "error"]
"""`notice`: nothing is wrong, but something that others rely on is not there or not protected."""


@dataclass(frozen=True)
class Finding:
    """The result of one check: a name for programs, a state, a sentence, and what to do."""

    check: str
    state: State
    message: str
    advice: str = ""

    def as_json(self) -> dict[str, str]:
        """The stable shape of `nagaya doctor --json`."""
        return asdict(self)


def existing(path: Path) -> Path:
    """`path` or its nearest parent that exists."""
    return next(candidate for candidate in (path, *path.parents) if candidate.exists())
