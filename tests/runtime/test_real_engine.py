"""The keeper with a real engine: ZenML forked from a warmed zygote, adopted, put to sleep, woken.

Set NAGAYA_TEST_ENGINE to the prefix of an environment that holds zenml[server]; otherwise this is skipped.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nagaya.runtime.files import write_json
from nagaya.runtime.local import rpc
from tests.runtime.support import SOURCE, wait_for
from tests.supervisor.support import Platform, platform_config

PREFIX = os.environ.get("NAGAYA_TEST_ENGINE", "")
TENANT_SOURCE = Path(os.environ.get("NAGAYA_TEST_TENANT_SOURCE", str(SOURCE)))

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not PREFIX, reason="NAGAYA_TEST_ENGINE names no environment with ZenML"),
    pytest.mark.skipif(not (TENANT_SOURCE / "nagaya_tenant" / "application.py").exists(), reason="no tenant side here"),
]


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("tenant", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def get(path: str, url: str) -> tuple[int, Any]:
    connection = UnixConnection(path)
    try:
        connection.request("GET", url)
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body.startswith(b"{") else body
    finally:
        connection.close()


@pytest.fixture
def platform(place: Path) -> Iterator[Platform]:
    """A platform whose engine 0.98.0 is the environment of NAGAYA_TEST_ENGINE."""
    platform = Platform(platform_config(place, ready_timeout=60.0, start_timeout=30.0))
    engine = platform.config.engines_dir / "0.98.0"
    (engine / "bin").mkdir(parents=True)
    (engine / "nagaya").mkdir()
    python = engine / "bin" / "python"
    python.write_text(
        f'#!/bin/sh\nexport PYTHONPATH={TENANT_SOURCE} PYTHONDONTWRITEBYTECODE=1\nexec {PREFIX}/bin/python "$@"\n'
    )
    python.chmod(0o755)
    template = engine / "nagaya" / "template.db"
    subprocess.run([python, "-m", "nagaya_tenant.template", template], check=True, capture_output=True)
    template.chmod(0o644)
    record = {"version": "0.98.0", "python": "3", "zenml": "0.98.0", "nagaya": "0", "fingerprint": "f"}
    write_json(engine / "nagaya" / "engine.json", record, mode=0o644)
    try:
        platform.up()
        yield platform
    finally:
        platform.down()


def test_a_real_tenant_lives_through_everything(platform: Platform) -> None:
    spec = platform.spec(engine="0.98.0")
    platform.call("apply", spec=spec)
    policy = {
        "schema": 1, "tenant": spec["id"], "organization": spec["organization_id"], "version": 1,
        "issuer": spec["public_url"], "issued_at": int(time.time()), "jwks": {"keys": []}, "principals": {},
        "roles": {}, "revoked_sessions": {},
    }  # fmt: skip
    platform.call("policy", id=spec["id"], policy=policy)
    awake = rpc.call(platform.config.socket("keeper"), "wake", timeout=200, id=spec["id"])
    assert "fork" in awake["timings"]
    status, info = get(awake["socket"], "/api/v1/info")
    assert (status, info["id"], info["version"]) == (200, spec["id"], "0.98.0")
    old = platform.pid("keeper")
    os.kill(old, signal.SIGKILL)
    wait_for(lambda: platform.pid("keeper") != old)
    assert platform.call("wake", id=spec["id"])["pid"] == awake["pid"]
    platform.call("sleep", id=spec["id"])
    directory = platform.config.data_dir / "tenants" / spec["id"]
    assert not (directory / "zenml.db-wal").exists()
    again = platform.call("wake", id=spec["id"])
    assert get(again["socket"], "/ready")[0] == 200
    assert (directory / "zenml.db").stat().st_uid == directory.stat().st_uid
    os.kill(again["pid"], signal.SIGKILL)
    wait_for(lambda: platform.state(spec["id"])["pid"] not in (None, again["pid"]))
    assert get(platform.wait_state(spec["id"], "awake", seconds=60)["socket"], "/ready")[0] == 200
    platform.check_invariants()
