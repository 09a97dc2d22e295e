"""An api process of its own for tests that kill one: `python -m tests.database.api_process DIRECTORY URL RECORD`.

Prints one JSON line with its addresses, serves until its standard input ends, and appends each call of its runtime to
the file RECORD.
"""

import json
import os
import sys
from pathlib import Path

from tests.api.tenants.installation import Installation
from tests.api.tenants.runtimes import InstantRuntime


class RecordingRuntime(InstantRuntime):
    """Does what it is told at once, and writes it down for all processes together."""

    def __init__(self, record: Path) -> None:
        super().__init__()
        self._record = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _called(self, method: str, tenant: str) -> None:
        os.write(self._record, json.dumps([os.getpid(), method, tenant]).encode() + b"\n")


def main() -> None:
    """Serves."""
    directory, url, record = sys.argv[1:]
    runtime = RecordingRuntime(Path(record))
    with Installation(Path(directory), keep=runtime, database=url, lease_seconds=1.0) as api:
        print(json.dumps(api.urls), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
