"""The process itself: inherited socket, configuration, signals, small memory, no heavy imports."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from nagaya.gateway.main import inherited_sockets, main
from nagaya.gateway.settings import GatewaySettings


def write_config(directory: Path, **values: object) -> Path:
    """A configuration file in a run directory."""
    path = directory / "config.json"
    path.write_text(json.dumps({"public_url": "http://127.0.0.1:8440", "run_dir": str(directory)} | values))
    return path


def test_the_process_serves_and_stops(tmp_path: Path) -> None:
    with (
        ExitStack() as stack,
        socket.create_server(("127.0.0.1", 0)) as listening,
        (tmp_path / "log").open("wb") as log,
    ):
        listening.set_inheritable(True)
        process = subprocess.Popen(
            [sys.executable, "-m", "nagaya.gateway.main", str(write_config(tmp_path))],
            env=os.environ | {"NAGAYA_SOCKETS": json.dumps({"gateway": listening.fileno()})},
            pass_fds=[listening.fileno()],
            stderr=log,
        )
        try:
            connection = stack.enter_context(
                closing(http.client.HTTPConnection("127.0.0.1", listening.getsockname()[1], timeout=10))
            )
            connection.request("GET", "/health")
            assert json.loads(connection.getresponse().read()) == {"status": "ok"}
            connection.request("GET", "/ready")
            response = connection.getresponse()
            assert response.status == 503
            assert json.loads(response.read())["checks"] == {"keeper": "unreachable", "api": "unreachable"}
            status = Path(f"/proc/{process.pid}/status").read_text()
            assert int(status.partition("VmRSS:")[2].split()[0]) < 45 * 1024
            begin = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            assert time.monotonic() - begin < 2
        finally:
            process.kill()
            process.wait()
    events = [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()]
    assert events[0] == "started"
    assert {"request", "keeper unreachable", "stopping"} <= set(events)


def test_nothing_heavy_is_imported() -> None:
    code = "import nagaya.gateway.main, sys; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"pydantic", "fastapi", "sqlalchemy", "httpx", "cryptography"}.isdisjoint(modules)


@pytest.mark.parametrize("value", [None, "", "[]", "{}", '{"gateway": "x"}', '{"gateway": 987}', "3"])
def test_sockets_that_are_not_there(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NAGAYA_SOCKETS", raising=False)
    if value is not None:
        monkeypatch.setenv("NAGAYA_SOCKETS", value)
    with pytest.raises(ValueError, match="NAGAYA_SOCKETS"):
        inherited_sockets()


def test_configurations_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert main([str(tmp_path / "nothing")]) == 1
    assert main([str(write_config(tmp_path, gateway={"colour": "red"}))]) == 1
    assert "colour" in capsys.readouterr().err
    assert main([str(write_config(tmp_path))]) == 1
    assert "NAGAYA_SOCKETS" in capsys.readouterr().err


def test_settings_come_from_the_file(tmp_path: Path) -> None:
    settings = GatewaySettings.from_file(write_config(tmp_path, gateway={"allowed_hosts": ["a"], "wake_seconds": 3}))
    assert settings.allowed_hosts == ("a",)
    assert settings.wake_seconds == 3
    assert settings.internal_socket == str(tmp_path / "internal.sock")
