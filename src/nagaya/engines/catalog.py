"""Which engines are installed: directories whose `nagaya/engine.json` was written, which happens last."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nagaya.runtime.files import StateFileError, read_json


@dataclass(frozen=True)
class Engine:
    """One complete engine."""

    version: str
    directory: Path
    zenml: str
    nagaya: str
    fingerprint: str

    @property
    def python(self) -> Path:
        """The interpreter of the engine's environment."""
        return self.directory / "bin" / "python"

    @property
    def template(self) -> Path:
        """The pre-migrated database that new tenants are copied from."""
        return self.directory / "nagaya" / "template.db"


def find(engines_dir: Path, version: str) -> Engine | None:
    """Return the engine `version`, or None when it is not completely installed."""
    directory = engines_dir / version
    with suppress(StateFileError, KeyError, OSError):
        record = read_json(directory / "nagaya" / "engine.json")
        if record is not None:
            return Engine(version, directory, record["zenml"], record["nagaya"], record["fingerprint"])
    return None


def installed(engines_dir: Path) -> list[Engine]:
    """Return all complete engines, oldest version first."""
    if not engines_dir.is_dir():
        return []
    found = [find(engines_dir, entry.name) for entry in engines_dir.iterdir() if not entry.name.startswith(".")]
    return sorted((engine for engine in found if engine is not None), key=lambda engine: version_key(engine.version))


def version_key(version: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key: numbers compare as numbers."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"[.+_-]", version))
