"""What the tests of the supervisor share: a platform of real processes, with stand-ins for api, gateway and engine."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nagaya.crypto import MasterKey
from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.local.adoption import stray_tenants, stray_zygotes
from nagaya.runtime.local.processes import ProcessIdentity, all_pids, command_line
from nagaya.supervisor import control
from nagaya.supervisor.record import SupervisorRecord
from tests.runtime.support import FakeEngine, KeeperProcess, wait_for

SERVICE = Path(__file__).with_name("service.py")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def platform_config(directory: Path, **settings: Any) -> PlatformConfig:
    """Return the configuration of a platform with stand-ins."""
    directory.chmod(0o755)
    service = directory / "service.py"
    shutil.copy(SERVICE, service)
    service.chmod(0o644)
    commands = {name: [sys.executable, str(service)] for name in ("api", "gateway")}
    values: dict[str, Any] = {
        "port": free_port(), "engines_dir": directory / "engines", "stop_timeout": 2.0, "backoff_seconds": 0.02,
        "commands": commands,
    }  # fmt: skip
    return PlatformConfig.create(directory / "d", **values | settings)


class Platform(KeeperProcess):
    """A platform under a supervisor; what the keeper's tests can do can be done with it too."""

    def __init__(self, config: PlatformConfig) -> None:
        self.config = config
        self.engine = FakeEngine(config.engines_dir)

    def up(self) -> None:
        """Start it in the background and wait until it serves."""
        control.start(self.config, detach=True, timeout=30)
        self.key = MasterKey.load_or_create(self.config.master_key_path)

    def record(self) -> SupervisorRecord:
        """Return the supervisor's record."""
        return wait_for(lambda: SupervisorRecord.read(self.config.run_dir))

    def pid(self, name: str) -> int:
        """Return the living process of a service (`supervisor` too), waiting for one."""

        def find() -> int | None:
            record = SupervisorRecord.read(self.config.run_dir)
            service = record.services.get(name) if record else None
            identity = record.identity if record and name == "supervisor" else service and service.identity
            return identity.pid if identity and identity.alive() else None

        return wait_for(find, seconds=30) or 0

    def ask(self, path: str = "/") -> dict[str, Any]:
        """Ask the gateway's stand-in about itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.config.port, timeout=10)
        try:
            connection.request("GET", path)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer

    def processes(self) -> set[int]:
        """Return every living process of this platform."""
        mark = str(self.config.path)
        own = {pid for pid in all_pids() if mark in command_line(pid) and ProcessIdentity.of(pid) is not None}
        return own | stray_tenants(self.config.run_dir) | stray_zygotes(self.config.run_dir)

    def down(self) -> None:
        """Stop it, whatever state it is in."""
        with contextlib.suppress(Exception):
            control.stop(self.config, timeout=20)
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def running_platform(directory: Path, **settings: Any) -> Iterator[Platform]:
    """A platform that serves, and is ended with everything it started."""
    platform = Platform(platform_config(directory, **settings))
    try:
        platform.up()
        yield platform
    finally:
        platform.down()
