"""Installs an engine without the command line: `python -m nagaya.engines install VERSION --engines-dir DIR`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nagaya.engines.install import EngineInstallError, ensure


def main() -> int:
    """Installs, with one line per step on standard error; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m nagaya.engines")
    commands = parser.add_subparsers(required=True)
    install = commands.add_parser("install", help="install an engine, or renew what is out of date in it")
    install.add_argument("version")
    install.add_argument("--engines-dir", type=Path, required=True)
    options = parser.parse_args()

    def progress(text: str) -> None:
        print(f"engine {options.version}: {text}", file=sys.stderr, flush=True)  # noqa: T201  (a tool's output)

    try:
        ensure(options.engines_dir.absolute(), options.version, progress=progress)
    except EngineInstallError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
