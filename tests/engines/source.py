"""A small engine that can be installed for real: a wheel called zenml, a lock with its hash, packages of our own."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

from nagaya.engines import locks

VERSION = "0.0.9"
TEMPLATE = f"""
import sqlite3, sys
from pathlib import Path
out = Path(sys.argv[1])
out.unlink(missing_ok=True)
database = sqlite3.connect(out)
database.execute("CREATE TABLE alembic_version (version_num)")
database.execute("INSERT INTO alembic_version VALUES ('{VERSION}')")
database.execute("CREATE TABLE label (text)")
"""
DESCRIPTION = "import pathlib, sys\npathlib.Path(sys.argv[1]).write_text('{}')\n"
LABELLED = "database.execute('INSERT INTO label VALUES (?)', ({label!r},)); database.commit()\n"


@dataclass
class Source:
    """A source tree with one lock.

    Args:
        root: Has `src`, `locks` and `wheels`.
    """

    root: Path

    @property
    def packages(self) -> Path:
        return self.root / "src"

    def publish(self, label: str = "template", before: str = "") -> None:
        """Writes the packages that travel into engines; the template holds `label`."""
        for package in ("nagaya_policy", "nagaya_tenant"):
            (self.packages / package).mkdir(parents=True, exist_ok=True)
            (self.packages / package / "__init__.py").write_text(f"'''{package}'''\n")
        code = before + "\n" + TEMPLATE + LABELLED.format(label=label)
        (self.packages / "nagaya_tenant" / "template.py").write_text(code)
        (self.packages / "nagaya_tenant" / "openapi_document.py").write_text(DESCRIPTION)

    def release(self, pythons: str = "") -> None:
        """Writes the wheel and the lock of the version."""
        wheels, directory = self.root / "wheels", self.root / "locks"
        wheels.mkdir()
        directory.mkdir()
        digest = make_wheel(wheels / f"zenml-{VERSION}-py3-none-any.whl")
        (directory / f"{VERSION}.lock").write_text(f"zenml=={VERSION} --hash=sha256:{digest}\n")
        (directory / f"{VERSION}.in").write_text(f"{pythons}\nzenml=={VERSION}\n")


def make_wheel(path: Path) -> str:
    """Writes a wheel with two modules and returns its SHA-256."""
    info = f"zenml-{VERSION}.dist-info"
    files = {
        "zenml/__init__.py": b"VERSION = '0.0.9'\n",
        "zenml/store.py": b"TABLES = 3\n",
        "zenml/authorities.pem": b"one\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: zenml\nVersion: {VERSION}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [f"{name},sha256={_encoded(content)},{len(content)}" for name, content in files.items()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**files, f"{info}/RECORD": "\n".join([*lines, f"{info}/RECORD,,\n"]).encode()}.items():
            archive.writestr(name, content)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def use(source: Source) -> None:
    """Makes this process take its engines from `source`; for processes that are forked to be killed."""
    locks.source_root = lambda: source.packages
    locks.lock_directory = lambda: source.root / "locks"
