"""Starts one tenant without a zygote, with the same contract: the fallback for engines that cannot be forked.

NAGAYA_SPAWN='{"name": …}' NAGAYA_FDS=3,4,5 python -m nagaya_tenant.plain
"""

from __future__ import annotations

import os
import sys
import time

from nagaya_tenant import child
from nagaya_tenant.spawn import DESCRIPTORS, SpawnError, SpawnOrder
from nagaya_tenant.stamp import StampError


def main() -> int:
    """Serves the tenant of the order in the environment; returns the exit status."""
    received = time.monotonic()
    try:
        order = SpawnOrder.from_json(os.environ.pop("NAGAYA_SPAWN", ""))
        descriptors = _descriptors(os.environ.pop("NAGAYA_FDS", ""))
    except (SpawnError, StampError) as error:
        print(error, file=sys.stderr)  # noqa: T201 - without an order there is no log yet
        return 2
    return child.run(order, descriptors, received, _import_engine)


def _descriptors(text: str) -> list[int]:
    parts = text.split(",")
    if len(parts) != DESCRIPTORS or not all(part.isascii() and part.isdigit() for part in parts):
        raise SpawnError("NAGAYA_FDS must name three descriptors: listening socket, policy, readiness pipe.")
    return [int(part) for part in parts]


def _import_engine() -> None:
    import zenml.zen_server.zen_server_api  # noqa: F401, PLC0415 - after the tenant's environment is set

    from nagaya_tenant import hooks  # noqa: PLC0415

    hooks.apply_process_wide()


if __name__ == "__main__":
    child.exit_now(main())
