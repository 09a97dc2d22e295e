"""Runs a module of the package as the keeper would, but with every use of the network recorded and refused.

    python launcher.py MODULE [ARGUMENT …]

The audit hook survives the fork, so it watches zygote and tenants alike. `PRETEND_ENGINE` makes zenml report another
version.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import runpy
import socket
import sys
from typing import Any

NETWORK_ATTEMPT = "NETWORK ATTEMPT"
WATCHED = {"socket.connect", "socket.sendto", "socket.sendmsg"}


def watch_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: raises at any address that is not a Unix socket's, and at any look-up of a name."""
    resolves = event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
    if resolves or (event in WATCHED and arguments[0].family != socket.AF_UNIX):
        print(f"{NETWORK_ATTEMPT}: {event} {arguments[1:]}", file=sys.stderr, flush=True)
        raise PermissionError(f"{event} is refused in this test")


def main() -> None:
    """Prepares the process and becomes the module."""
    if os.environ.get("COVERAGE_PROCESS_CONFIG"):
        importlib.import_module("coverage").process_startup()
    sys.addaudithook(watch_network)
    if version := os.environ.pop("PRETEND_ENGINE", ""):
        real = importlib.metadata.version
        importlib.metadata.version = lambda name: version if name == "zenml" else real(name)
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
