"""Whether an installed engine can be used: a look that costs milliseconds, and one at every file."""

from __future__ import annotations

import base64
import csv
import hashlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nagaya.engines import catalog, errors, locks
from nagaya.engines.catalog import Engine

NAMED_FILES = 3
CODE = frozenset({".py", ".so"})


@dataclass(frozen=True)
class Health:
    """What was found out about one engine directory.

    `problem` is a whole sentence that says what to do; None when the engine can be used.
    `outdated` when its copy of our packages is of another release than this one; it can be used nevertheless.
    """

    version: str
    directory: Path
    python: str
    problem: str | None
    outdated: bool

    @property
    def state(self) -> str:
        """`ready`, `outdated` or `damaged`."""
        return "damaged" if self.problem else "outdated" if self.outdated else "ready"


def examine(engines_dir: Path) -> list[Health]:
    """Return the health of everything in the engines' directory, oldest version first."""
    return [examine_one(engines_dir, version) for version in catalog.present(engines_dir)]


def examine_one(engines_dir: Path, version: str, *, thorough: bool = False) -> Health:
    """Return the health of one engine; `thorough` compares every file with the hash that it was installed with."""
    directory = engines_dir / version
    if not directory.is_dir():
        return Health(version, directory, "", errors.not_installed(version), outdated=False)
    problem = inspect(engines_dir, version)
    engine = catalog.find(engines_dir, version)
    if problem is None and thorough and engine is not None:
        problem = verify(engine)
    sentence = None if problem is None else errors.damaged(version, problem)
    outdated = engine is not None and engine.fingerprint != fingerprint(locks.source_root())
    return Health(version, directory, engine.built_with if engine else "", sentence, outdated)


def fingerprint(root: Path) -> str:
    """Return a digest of our packages that travel into engines: every Python file's path and content."""
    digest = hashlib.sha256()
    for package in locks.PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:16]


def inspect(engines_dir: Path, version: str) -> str | None:
    """Return what is plainly wrong with an engine's directory, as part of a sentence; None when nothing is.

    Reads some dozens of small files. Files of ZenML itself that are damaged are found by `verify`.
    """
    try:
        return next(_flaws(engines_dir, version), None)
    except OSError as error:
        return f"{error.filename or engines_dir / version} cannot be read ({error.strerror})"


def _flaws(engines_dir: Path, version: str) -> Iterator[str]:
    engine = catalog.find(engines_dir, version)
    if engine is None:
        yield "its record nagaya/engine.json is missing or cannot be read"
        return
    if engine.zenml != version:
        yield f"its record is one of {engine.zenml}"
    if not os.access(engine.python, os.X_OK):
        yield "its interpreter bin/python is missing or leads nowhere"
    site = catalog.site_packages(engine.directory)
    if site is None or not (site / "zenml" / "__init__.py").is_file():
        yield "its package zenml is missing"
        return
    absent = [name for name in engine.distributions if not (site / name).is_dir()]
    if absent:
        yield f"its package {absent[0].removesuffix('.dist-info')} is missing"
    if fingerprint(site) != engine.fingerprint:
        yield "its copy of Nagaya's packages is not the one that it was installed with"
    if flaw := _template_flaw(engine):
        yield flaw


def _template_flaw(engine: Engine) -> str | None:
    if not engine.template.is_file():
        return "its template database is missing"
    try:
        connection = sqlite3.connect(f"{engine.template.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            whole = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        return f"its template database cannot be read ({error})"
    if found != [(engine.version,)]:
        return f"its template database is not one of ZenML {engine.version}"
    return None if whole == ("ok",) else "its template database is corrupt"


def verify(engine: Engine) -> str | None:
    """Compare every installed file with its distribution's record; takes seconds.

    The records are those that the installer wrote (`*.dist-info/RECORD`, PEP 376). Code must have its hash. Other files
    must be there and not have become shorter: administrators add their certificate authority to certifi's file.
    Returns what is wrong, as part of a sentence, or None.
    """
    site = catalog.site_packages(engine.directory)
    if site is None:
        return "its packages are missing"
    wrong: list[str] = []
    for metadata in sorted(site.glob("*.dist-info")):
        record = metadata / "RECORD"
        try:
            wrong += [name for name, expected, size in _entries(record) if not _intact(site / name, expected, size)]
        except (OSError, ValueError, csv.Error):
            wrong.append(f"{metadata.name}/RECORD")
    if not wrong:
        return None
    shown = ", ".join(wrong[:NAMED_FILES]) + (" …" if len(wrong) > NAMED_FILES else "")
    return f"{len(wrong)} of its files are missing or changed ({shown})"


def _entries(record: Path) -> Iterator[tuple[str, str, int]]:
    with record.open(newline="", encoding="utf-8") as lines:
        for row in csv.reader(lines):
            # Scripts outside of site-packages carry the address of their interpreter, and nothing of ours uses them.
            if len(row) == 3 and row[1].startswith("sha256=") and not row[0].startswith(".."):
                yield row[0], row[1].removeprefix("sha256="), int(row[2] or 0)


def _intact(path: Path, expected: str, size: int) -> bool:
    try:
        if path.suffix not in CODE:
            return path.stat().st_size >= size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return False
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == expected.rstrip("=")
