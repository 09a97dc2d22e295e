"""`python -m nagaya.engines install VERSION --engines-dir DIR`: what `./run` prepares an engine with."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nagaya.engines.install import EngineInstallError, ensure


def main() -> int:
    """Install the engine that the command line names; 0, or 1 with one sentence on standard error."""
    parser = argparse.ArgumentParser(prog="nagaya.engines", description=__doc__)
    parser.add_argument("action", choices=["install"])
    parser.add_argument("version", help="ZenML version, e.g. 0.98.0")
    parser.add_argument("--engines-dir", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        ensure(arguments.engines_dir, arguments.version, progress=lambda text: print(f"  {text}", file=sys.stderr))
    except EngineInstallError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
