"""Starts one tenant without a zygote, with the same contract: the fallback for engines that cannot be forked.

NAGAYA_SPAWN='{"name": …}' NAGAYA_FDS=3,4,5 python -m nagaya_tenant.plain
"""

from __future__ import annotations

import os
import sys
import time

from nagaya_tenant import child
from nagaya_tenant.spawn import DESCRIPTORS

EXIT_USAGE = 64  # EX_USAGE of <sysexits.h>


def main() -> int:
    """Serves the tenant of the order in the environment; returns the exit status."""
    received = time.monotonic()
    order, numbers = os.environ.pop("NAGAYA_SPAWN", ""), os.environ.pop("NAGAYA_FDS", "").split(",")
    if len(numbers) != DESCRIPTORS or not all(number.isascii() and number.isdigit() for number in numbers):
        sys.stderr.write("NAGAYA_FDS must name three descriptors: listening socket, policy, readiness pipe.\n")
        return EXIT_USAGE
    return child.main(order, [int(number) for number in numbers], received, _import_engine)


def _import_engine() -> None:
    from nagaya_tenant import hooks  # noqa: PLC0415 - with the tenant's user and environment, not before

    hooks.import_engine()
    hooks.apply_process_wide()


if __name__ == "__main__":
    child.exit_now(main())
