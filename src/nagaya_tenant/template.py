"""Builds an engine's template database: `python -m nagaya_tenant.template OUT`.

The empty store of the installed ZenML in cloud mode, compacted, in WAL mode: default stack, built-in flavors, no user,
no project, analytics off. Tenants' databases are copies of it (`nagaya_tenant.stamp`).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from nagaya_tenant import profile

if TYPE_CHECKING:
    from collections.abc import Sequence


def build(out: Path) -> None:
    """Writes the template to `out`, replacing it in one step. Changes this process's environment and imports ZenML."""
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".template-", dir=out.parent) as name:
        directory = Path(name)
        source, finished = directory / "zenml.db", directory / "template.db"
        profile.use_placeholders(os.environ)
        # Creating the tables is what ZenML calls a migration.
        del os.environ["DISABLE_DATABASE_MIGRATION"]
        os.environ["ZENML_CONFIG_PATH"] = str(directory)
        os.environ["ZENML_STORE_URL"] = f"sqlite:///{source}"

        from zenml.config.global_config import GlobalConfiguration  # noqa: PLC0415 - reads the environment set above

        GlobalConfiguration().zen_store.engine.dispose()
        with contextlib.closing(sqlite3.connect(source)) as connection:
            connection.execute("VACUUM INTO ?", (str(finished),))
        with contextlib.closing(sqlite3.connect(finished)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        finished.chmod(0o644)  # Every tenant's user copies it.
        with finished.open("rb") as file:
            os.fsync(file.fileno())
        finished.rename(out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m nagaya_tenant.template", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    build(parser.parse_args(arguments).out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
