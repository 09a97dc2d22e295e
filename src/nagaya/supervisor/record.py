"""`run/supervisor.json` and the lock beside it: who supervises this data directory, and which processes it started."""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nagaya
from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.files import StateFileError, read_json, write_json
from nagaya.runtime.local.processes import ProcessIdentity


@dataclass
class ServiceRecord:
    """One process of the platform as last seen by a supervisor.

    `build` is the code that it runs; `retiring` are predecessors that finish what they have begun.
    """

    identity: ProcessIdentity | None
    restarts: int = 0
    build: str = ""
    retiring: list[ProcessIdentity] = field(default_factory=list)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> ServiceRecord:
        """Read what `to_json` made. Raises KeyError, TypeError or ValueError when it is damaged."""
        retiring = [ProcessIdentity.from_json(item) for item in value.get("retiring", [])]
        return cls(
            ProcessIdentity.from_json(value["process"]),
            int(value["restarts"]),
            str(value.get("build", "")),
            [item for item in retiring if item is not None],
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that records this process."""
        return {
            "process": self.identity.to_json() if self.identity else None,
            "restarts": self.restarts,
            "build": self.build,
            "retiring": [item.to_json() for item in self.retiring],
        }


@dataclass
class SupervisorRecord:
    """What a supervisor writes about itself. `state` is `running` or `stopping`."""

    identity: ProcessIdentity
    state: str = "running"
    build: str = ""
    services: dict[str, ServiceRecord] = field(default_factory=dict)

    @staticmethod
    def path(run_dir: Path) -> Path:
        """Where the record lies."""
        return run_dir / "supervisor.json"

    @classmethod
    def read(cls, run_dir: Path) -> SupervisorRecord | None:
        """Return the last supervisor's record; None when there is none that can be read."""
        with suppress(StateFileError, KeyError, TypeError, ValueError):
            value = read_json(cls.path(run_dir))
            identity = ProcessIdentity.from_json(value) if value is not None else None
            if value is not None and identity is not None:
                services = {name: ServiceRecord.from_json(item) for name, item in value["processes"].items()}
                return cls(identity, str(value["state"]), str(value.get("build", "")), services)
        return None

    def write(self, config: PlatformConfig) -> None:
        """Store the record."""
        processes: dict[str, Any] = {name: item.to_json() for name, item in self.services.items()}
        value = {
            **self.identity.to_json(),
            "state": self.state,
            "version": nagaya.__version__,
            "build": self.build,
            "data_dir": str(config.data_dir),
            "public_url": config.public_url,
            "detach": config.detach,
            "processes": processes,
        }
        write_json(self.path(config.run_dir), value, mode=0o644)


def take_lock(run_dir: Path) -> int | None:
    """Return a descriptor that holds the platform's lock until it is closed; None when another process holds it."""
    descriptor = os.open(run_dir / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def lock_is_held(run_dir: Path) -> bool:
    """Tell whether a supervisor runs on this directory."""
    if not (run_dir / "supervisor.lock").exists():
        return False
    descriptor = take_lock(run_dir)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False
