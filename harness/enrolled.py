"""A plain ZenML server in cloud mode, started outside of the platform from an environment of its own."""

import http.client
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Self

from harness.platform import ROOT, free_port
from harness.wire import Address, Caller

SERVERS = Path(os.environ.get("NAGAYA_SERVERS_DIR", str(ROOT / ".servers")))
ENGINES = Path(os.environ.get("NAGAYA_ENGINES_DIR", str(ROOT / ".engines")))


def server_python(version: str) -> Path:
    """Returns the interpreter of an environment with `zenml[server]` of a version, whether it exists or not."""
    engine = ENGINES / version / "bin" / "python"
    return engine if engine.exists() else SERVERS / version / "bin" / "python"


class EnrolledServer:
    """One `uvicorn zenml.zen_server.zen_server_api:app` on a TCP port, with SQLite.

    Args:
        version: ZenML version.
        directory: Directory of its own; created.
        environment: What `nagaya tenant enroll` printed, in the names that the version knows.
    """

    def __init__(self, version: str, directory: Path, environment: dict[str, str] | None = None) -> None:
        self.python = server_python(version)
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "ZENML_CONFIG_PATH": str(directory / "config"),
            "ZENML_LOCAL_STORES_PATH": str(directory / "stores"),
            "ZENML_STORE_TYPE": "sql",
            "ZENML_STORE_URL": f"sqlite:///{directory / 'zenml.db'}",
            "ZENML_SERVER": "true",
            "ZENML_ANALYTICS_OPT_IN": "false",
            "AUTO_OPEN_DASHBOARD": "false",
            **(environment or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """Everything that the server has written."""
        return (self.directory / "log").read_text(errors="replace")

    def start(self, **environment: str) -> Self:
        """Starts the process and does not wait.

        Args:
            environment: Variables that differ this time.
        """
        with (self.directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    str(self.python),
                    "-m",
                    "uvicorn",
                    "zenml.zen_server.zen_server_api:app",
                    "--port",
                    str(self.port),
                    "--no-access-log",
                ],
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )
        return self

    def wait_ready(self, deadline: float = 300) -> Self:
        """Waits until the server answers; raises with its log if it ends instead."""
        caller = self.caller()
        end = time.monotonic() + deadline
        try:
            while time.monotonic() < end:
                if self.process is None or self.process.poll() is not None:
                    raise RuntimeError(f"the server has ended\n{self.log}")
                if self._answers(caller):
                    return self
                time.sleep(0.25)
        finally:
            caller.close()
        raise TimeoutError(f"the server does not answer\n{self.log}")

    @staticmethod
    def _answers(caller: Caller) -> bool:
        try:
            return caller.call("GET", "/health").status == 200
        except (OSError, http.client.HTTPException):
            return False

    def wait_end(self, deadline: float = 120) -> int:
        """Waits until a server that cannot start has ended, and returns its exit status."""
        if self.process is None:
            raise RuntimeError("the server was not started")
        return self.process.wait(deadline)

    def stop(self) -> None:
        """Stops the process and waits for its end."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(20)

    def caller(self, token: str | None = None) -> Caller:
        """Returns a caller of the server."""
        return Caller(Address(port=self.port), token)
