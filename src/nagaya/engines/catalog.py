"""Which engines are installed: directories whose `nagaya/engine.json` was written, which happens last."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from nagaya.runtime.files import StateFileError, read_json


@dataclass(frozen=True)
class Engine:
    """One complete engine. `distributions` are the names of the metadata directories of all that was installed."""

    version: str
    directory: Path
    zenml: str
    nagaya: str
    fingerprint: str
    built_with: str = ""
    distributions: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        """The interpreter of the engine's environment."""
        return self.directory / "bin" / "python"

    @property
    def template(self) -> Path:
        """The pre-migrated database that new tenants are copied from."""
        return self.directory / "nagaya" / "template.db"

    @property
    def record(self) -> Path:
        """The file that marks the engine as complete."""
        return self.directory / "nagaya" / "engine.json"


def find(engines_dir: Path, version: str) -> Engine | None:
    """Return the engine `version`, or None when it is not completely installed."""
    directory = engines_dir / version
    with suppress(StateFileError, KeyError, OSError, TypeError):
        record = read_json(directory / "nagaya" / "engine.json")
        if record is not None:
            return Engine(
                version,
                directory,
                record["zenml"],
                record["nagaya"],
                record["fingerprint"],
                str(record.get("python", "")),
                tuple(record.get("distributions", ())),
            )
    return None


def present(engines_dir: Path) -> list[str]:
    """Return the versions that have a directory, complete or not, oldest first."""
    try:
        names = [entry.name for entry in engines_dir.iterdir() if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []
    return sorted(names, key=version_key)


def installed(engines_dir: Path) -> list[Engine]:
    """Return all complete engines, oldest version first."""
    found = (find(engines_dir, version) for version in present(engines_dir))
    return [engine for engine in found if engine is not None]


def site_packages(directory: Path) -> Path | None:
    """Return the directory of an environment's packages; None when there is none."""
    with suppress(OSError):
        return next(iter(sorted((directory / "lib").glob("python3.*/site-packages"))), None)
    return None


def version_key(version: str) -> tuple[tuple[int, str], ...]:
    """Return a sort key: numbers compare as numbers."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"[.+_-]", version))
