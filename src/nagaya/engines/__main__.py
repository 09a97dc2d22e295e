"""Installs engines without the command line: `python -m nagaya.engines install VERSION --engines-dir DIR`.

`python -m nagaya.engines renew --engines-dir DIR` brings our packages in all installed engines up to date.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nagaya.engines.install import EngineInstallError, ensure, renew


def main() -> int:
    """Installs, with one line per step on standard error; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m nagaya.engines")
    commands = parser.add_subparsers(required=True, dest="command")
    install = commands.add_parser("install", help="install an engine, or renew what is out of date in it")
    install.add_argument("version")
    for command in (install, commands.add_parser("renew", help="renew what is out of date in the installed engines")):
        command.add_argument("--engines-dir", type=Path, required=True)
    options = parser.parse_args()
    name = f"engine {options.version}" if options.command == "install" else "engines"

    def progress(text: str) -> None:
        print(f"{name}: {text}", file=sys.stderr, flush=True)  # noqa: T201  (a tool's output)

    try:
        if options.command == "install":
            ensure(options.engines_dir.absolute(), options.version, progress=progress)
        else:
            renew(options.engines_dir.absolute(), progress=progress)
    except EngineInstallError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
