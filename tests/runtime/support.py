"""What the tests of the runtime share: a fake engine, a keeper as a real process, and invariants over both."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from nagaya.crypto import MasterKey, associated_data
from nagaya.engines.health import fingerprint
from nagaya.runtime.config import PlatformConfig
from nagaya.runtime.files import write_json
from nagaya.runtime.local import rpc
from nagaya.runtime.local.adoption import stray_tenants, stray_zygotes
from nagaya.runtime.local.environment import SECRET_NAMES
from nagaya.runtime.local.processes import ProcessIdentity
from nagaya.supervisor import layout
from nagaya.supervisor.sockets import announce

FAKES = Path(__file__).parent / "fakes"
SOURCE = Path(__file__).parents[2] / "src"
ENGINE = "0.0.1"
T = TypeVar("T")


def wait_for(condition: Callable[[], T], *, seconds: float = 15.0) -> T:
    """Return the first true value of `condition`; fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)


class FakeEngine:
    """An engine whose interpreter runs the stand-ins of `fakes/`."""

    def __init__(self, engines_dir: Path, version: str = ENGINE) -> None:
        self.directory = engines_dir / version
        self.version = version
        (self.directory / "bin").mkdir(parents=True)
        (self.directory / "nagaya").mkdir()
        self.behaviour = self.directory / "behaviour.json"
        self.site = self.directory / "lib" / "python3.11" / "site-packages"
        python = self.directory / "bin" / "python"
        python.write_text(
            f"#!/bin/sh\nexport PYTHONPATH={FAKES} FAKE_BEHAVIOUR={self.behaviour}\n"
            f'export PYTHONDONTWRITEBYTECODE=1\nexec {sys.executable} "$@"\n'
        )
        python.chmod(0o755)
        self.finish("one")

    def finish(self, label: str) -> None:
        """Write the file that completes an engine; another label makes it another engine of the same version."""
        site = self.site
        for package in ("zenml", "nagaya_tenant"):
            (site / package).mkdir(parents=True, exist_ok=True)
            (site / package / "__init__.py").write_text(f"# {label}\n")
        template = self.directory / "nagaya" / "template.db"
        template.unlink(missing_ok=True)
        with closing(sqlite3.connect(template)) as database, database:
            database.execute("CREATE TABLE alembic_version (version_num)")
            database.execute("INSERT INTO alembic_version VALUES (?)", (self.version,))
        record = {
            "version": self.version,
            "python": "3",
            "zenml": self.version,
            "nagaya": "0",
            "fingerprint": fingerprint(site),
        }
        write_json(self.directory / "nagaya" / "engine.json", record, mode=0o644)

    def behave(self, **parts: str) -> None:
        """Set how zygote and tenants behave from now on."""
        self.behaviour.write_text(json.dumps(parts))
        self.behaviour.chmod(0o644)


class KeeperProcess:
    """A real keeper on a directory of its own."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        directory.chmod(0o755)
        engines = directory / "engines"
        engines.mkdir(exist_ok=True)
        values = {"ready_timeout": 5.0, "stop_timeout": 2.0, "backoff_seconds": 0.02, "backoff_limit": 0.2} | settings
        self.config = PlatformConfig.create(directory / "d", engines_dir=engines, **values)
        layout.prepare(self.config)
        self.config.save()
        self.key = MasterKey.load_or_create(self.config.master_key_path)
        self.engine = FakeEngine(engines)
        path = self.config.socket("keeper")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(100)
        path.chmod(0o666)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the keeper on the same listening socket as before."""
        variable, descriptors = announce({"keeper": self.listener}, ["keeper"])
        with (self.config.log_dir / "keeper.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nagaya.runtime.local.keeper", str(self.config.path)],
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)} | variable | _coverage(),
                pass_fds=descriptors,
                stderr=log,
                stdout=log,
            )

    def kill(self) -> None:
        """Kill the keeper without warning."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """Stop the keeper in order and return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(30)

    def call(self, method: str, **params: Any) -> Any:
        """Call a method of the keeper."""
        return rpc.call(self.config.socket("keeper"), method, timeout=30, **params)

    def spec(self, **values: Any) -> dict[str, Any]:
        """Return a spec with sealed secrets."""
        tenant = values.pop("id", str(uuid.uuid4()))
        spec = {
            "id": tenant, "organization_id": str(uuid.uuid4()), "organization": "acme", "tenant": "staging",
            "engine": ENGINE, "generation": 1, "desired": "running", "public_url": "http://127.0.0.1:8440",
            "server_url": "http://127.0.0.1:8440/t/acme/staging", "root_path": "/t/acme/staging",
            "api_url": "http://127.0.0.1:8440/api/v1", "dashboard_url": "http://127.0.0.1:8440/o/acme",
            "project": {"id": str(uuid.uuid4()), "name": "default"}, "system_user_id": str(uuid.uuid4()),
            "secrets": {
                name: self.key.seal("5e" * 32, associated_data("tenants", name, tenant)) for name in SECRET_NAMES
            },
        }  # fmt: skip
        return spec | values

    def create(self, **values: Any) -> str:
        """Apply a new tenant with its first policy and return its id."""
        spec = self.spec(**values)
        self.call("apply", spec=spec)
        self.call("policy", id=spec["id"], policy={"version": 1, "tenant": spec["id"]})
        return str(spec["id"])

    def state(self, tenant: str) -> dict[str, Any]:
        """Return a tenant's state."""
        state: dict[str, Any] = self.call("get", id=tenant)
        return state

    def wait_state(self, tenant: str, *states: str, seconds: float = 15.0) -> dict[str, Any]:
        """Wait until a tenant is in one of the states."""
        return wait_for(lambda: ((found := self.state(tenant))["state"] in states and found) or None, seconds=seconds)

    def tenants(self) -> set[int]:
        """Return the pids of all living tenant processes."""
        return stray_tenants(self.config.run_dir)

    def zygotes(self) -> set[int]:
        """Return the pids of all living zygotes."""
        return stray_zygotes(self.config.run_dir)

    def check_invariants(self) -> None:
        """Fail unless processes, records and sockets agree with each other."""

        def settled() -> bool:
            # A death is known to the kernel a moment before the keeper; an orphan stays and is seen below.
            states = self.call("list")
            moving = {state["state"] for state in states} & {"starting", "stopping"}
            return not moving and {state["pid"] for state in states if state["pid"]} == self.tenants()

        deadline = time.monotonic() + 10
        while not settled() and time.monotonic() < deadline:
            time.sleep(0.02)
        states = self.call("list")
        recorded = {state["pid"] for state in states if state["pid"]}
        assert recorded == self.tenants(), (states, {pid: alive(pid) for pid in recorded | self.tenants()}, self.logs())
        assert all((state["state"] == "awake") == (state["pid"] is not None) for state in states)
        sockets = {Path(state["socket"]) for state in states if state["socket"]}
        assert set((self.config.run_dir / "t").iterdir()) == sockets

    def logs(self) -> str:
        """Return what the keeper has logged, for the message of a failure."""
        return (self.config.log_dir / "keeper.log").read_text()[-4000:]

    def close(self) -> None:
        """End everything that belongs to this keeper."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        self.listener.close()
        for pid in self.tenants() | self.zygotes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _coverage() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key.startswith("COVERAGE_")}


def ask(path: str, data: bytes = b"hi") -> bytes:
    """Speak to a fake tenant: it answers with its pid."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        connection.sendall(data)
        return connection.recv(100)


def alive(pid: int) -> bool:
    """Tell whether a process runs (a zombie does not)."""
    return ProcessIdentity.of(pid) is not None


@contextlib.contextmanager
def running_keeper(directory: Path, **settings: Any) -> Iterator[KeeperProcess]:
    """A keeper that serves, and is ended with everything it started."""
    keeper = KeeperProcess(directory, **settings)
    try:
        keeper.start()
        yield keeper
    finally:
        keeper.close()
